import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { ownIdentity } from "#libs/tls";

/**
 * With TLS when the process has an identity. A client may show a certificate, and then needs no other proof; ordinary
 * clients of registries have none.
 */
export function newServer(handle: RequestListener): Server {
  const tls = ownIdentity();
  if (tls === undefined) return createServer(handle);
  const server = createTlsServer({ ...tls.pem, requestCert: true, rejectUnauthorized: false }, handle);
  const forget = tls.onRenewal((pem) => server.setSecureContext({ ...pem }));
  return server.once("close", forget);
}
