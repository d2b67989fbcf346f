// Client authentication by certificate (RFC 8705 section 2). The main port asks for none, so that nothing
// changes for other clients: a port of its own does, and the metadata names it (section 5).
const certificate = (ctx) => ctx.socket.getPeerX509Certificate?.();

export const MTLS = {
  enabled: true,
  tlsClientAuth: true,
  selfSignedTlsClientAuth: true,
  getCertificate: (ctx) => certificate(ctx)?.toString(),
  certificateAuthorized: (ctx) => ctx.socket.authorized,
  certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
    && certificate(ctx).subjectAltName.split(', ').includes(`DNS:${expected}`),
};

export const aliases = (base) => ({
  token_endpoint: `${base}/token`,
  introspection_endpoint: `${base}/token/introspection`,
  revocation_endpoint: `${base}/token/revocation`,
});
