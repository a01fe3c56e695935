/** Who a process is to others, by certificates of one authority; see `stillpoint cert`. */

export { Authority, type CertificateOptions, type IssueOptions } from "./authority.ts";
export { callerOf, forwardedHeader, forwardedSinceHeader } from "./caller.ts";
export { fingerprintOf, keyOfRequest, makeRequest } from "./certificate-request.ts";
export { expiresSoon } from "./expires-soon.ts";
export { type Identity, identityOf, isIdentity } from "./identity.ts";
export { hashOfJoinToken, newJoinToken, parseJoinToken, showJoinToken } from "./join-token.ts";
export { ownIdentity, takeIdentity } from "./own-identity.ts";
export { readCertificate } from "./read-certificate.ts";
export { type TlsFiles, TlsIdentity, type TlsPem } from "./tls-identity.ts";
