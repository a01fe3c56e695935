import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { TLSSocket } from "node:tls";
import { identityPrincipal, localPrincipal, type Principal } from "#libs/auth";
import { callerOf, forwardedHeader, ownIdentity } from "#libs/tls";

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

/** Who asks, by the connection alone: whoever reaches loopback without TLS, or shows a certificate of our authority. */
export function connectionPrincipal({ socket, headers }: IncomingMessage): Principal | undefined {
  if (!(socket instanceof TLSSocket)) return localPrincipal;
  if (!socket.authorized) return undefined;
  const caller = callerOf(socket.getPeerCertificate().subjectaltname, headers[forwardedHeader]);
  return caller && identityPrincipal(caller);
}
