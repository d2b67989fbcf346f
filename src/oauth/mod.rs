//! The nouns of OAuth 2.0, as types that cannot hold what the RFCs forbid.

pub mod algorithm;
pub mod claims;
pub mod confirmation;
pub mod mark;
mod members;
pub mod names;
pub mod principal;
pub mod resource;
pub mod scope;
pub mod signing_key;
pub mod texts;
pub mod token;
pub mod verified;

pub use algorithm::{Algorithm, MacAlgorithm, SignatureAlgorithm};
pub use claims::{ClaimError, Claims, KeptClaims};
pub use confirmation::{Confirmation, InvalidConfirmation, Thumbprint};
pub use mark::{Mark, MarkKind, Traces};
pub use names::{Audience, ClientId, Issuer, Plaintext};
pub use principal::Principal;
pub use resource::{InvalidResource, ResourceIdentifier};
pub use scope::{HeldScopes, Scope, ScopeRef, ScopeSet};
pub use signing_key::SigningKey;
pub use texts::TokenTexts;
pub use token::{RawToken, TokenDigest};
pub use verified::{Audiences, ServerId, TokenKind, Validity, VerifiedToken};
