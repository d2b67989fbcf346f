//! What is wrong with a DPoP proof (RFC 9449 §4.3): the facts, and what is said of each.

/// Why a DPoP proof does not count. The caller gets the code `invalid_dpop_proof` for each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum InvalidProof {
    /// There is no `DPoP` field.
    Missing,
    /// There is more than one (§4.3 #1).
    Several,
    /// It is no JWT, or lacks a member that it must have (§4.3 #2, #3).
    Malformed,
    /// `typ` is not `dpop+jwt` (§4.3 #4).
    Type,
    /// `alg` is none of those that the challenge names (§4.3 #5).
    Algorithm,
    /// `jwk` is no public key that the algorithm can be checked with (§4.3 #7).
    Key,
    /// The signature does not hold (§4.3 #6).
    Signature,
    /// `htm` is another method (§4.3 #8).
    Method,
    /// `htu` is another URI (§4.3 #9).
    Target,
    /// `iat` is too long ago, or ahead (§4.3 #11).
    Time,
    /// `ath` is the hash of another token (§4.3 #12).
    TokenHash,
    /// It was used before (§11.1).
    Replayed,
}

impl InvalidProof {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::Several,
        Self::Malformed,
        Self::Type,
        Self::Algorithm,
        Self::Key,
        Self::Signature,
        Self::Method,
        Self::Target,
        Self::Time,
        Self::TokenHash,
        Self::Replayed,
    ];

    /// The stable word of this cause.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "proof_missing",
            Self::Several => "proof_several",
            Self::Malformed => "proof_malformed",
            Self::Type => "proof_type",
            Self::Algorithm => "proof_algorithm",
            Self::Key => "proof_key",
            Self::Signature => "proof_signature",
            Self::Method => "proof_method",
            Self::Target => "proof_target",
            Self::Time => "proof_time",
            Self::TokenHash => "proof_token_hash",
            Self::Replayed => "proof_replayed",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Missing => "the DPoP proof is missing",
            Self::Several => "more than one DPoP proof was sent",
            Self::Malformed => "the DPoP proof is malformed, or lacks a member",
            Self::Type => "the typ of the DPoP proof is not dpop+jwt",
            Self::Algorithm => "the alg of the DPoP proof is not accepted",
            Self::Key => "the jwk of the DPoP proof cannot be used",
            Self::Signature => "the signature of the DPoP proof does not hold",
            Self::Method => "htm is not the method of this request",
            Self::Target => "htu is not the URI of this request",
            Self::Time => "iat of the DPoP proof is not of now",
            Self::TokenHash => "ath is not the hash of this token",
            Self::Replayed => "the DPoP proof was used before",
        }
    }

    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::Missing => {
                "The token is sent as DPoP, and the DPoP field with its proof is missing."
            }
            Self::Several => "More than one DPoP field was sent; send one proof.",
            Self::Malformed => {
                "The DPoP proof is no JWT with typ, alg and jwk in its header and jti, htm, htu, iat \
                 and ath in its claims (RFC 9449 section 4.2)."
            }
            Self::Type => "The typ of the DPoP proof must be dpop+jwt.",
            Self::Algorithm => {
                "The alg of the DPoP proof is none of those that algs in the challenge lists."
            }
            Self::Key => {
                "The jwk of the DPoP proof must be one public key, of the type that its alg needs."
            }
            Self::Signature => "The signature of the DPoP proof does not hold for its jwk.",
            Self::Method => "The htm of the DPoP proof is not the method of this request.",
            Self::Target => {
                "The htu of the DPoP proof is not the URI of this request as it was sent, without \
                 query and fragment."
            }
            Self::Time => {
                "The DPoP proof was not made now: make one for each request, and check the clock."
            }
            Self::TokenHash => {
                "The ath of the DPoP proof must be the base64url of the SHA-256 of this token."
            }
            Self::Replayed => "The DPoP proof was used before: make one for each request.",
        }
    }
}

pub(super) const NONCE_NEEDED: &str = "The DPoP proof must carry a nonce of this API: the one in the \
     DPoP-Nonce field of this answer. Make a new proof with it.";
pub(super) const PROOFS_TOO_MANY: &str = "More DPoP proofs came of late than can be remembered; try \
     again after the time in Retry-After, with a new proof.";
