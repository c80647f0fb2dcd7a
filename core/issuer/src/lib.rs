//! OIDC tokens, the keys that sign them, discovery and JWKS documents.
