import { type Metadata, ServerInterceptingCall, type ServerInterceptor, ServerListenerBuilder } from "@grpc/grpc-js";
import type { Principal } from "#libs/auth";
import { type Identity, identityOf, isIdentity } from "#libs/tls";

/** Set by the server alone, whatever the caller sent. */
const peerHeader = "x-stillpoint-peer";
/** Set by the proxy, which has checked the caller's certificate; from anybody else it means nothing. */
const forwardedHeader = "x-stillpoint-client";
const proxy: Identity = "svc/proxy";

/** Writes into each call's metadata whom the certificate of its connection stands for. */
export const tellPeer: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start(next) {
      const listener = new ServerListenerBuilder()
        .withOnReceiveMetadata((metadata, proceed) => {
          const peer = peerOf(call.getAuthContext().sslPeerCertificate?.subjectaltname, metadata);
          metadata.remove(peerHeader);
          if (peer !== undefined) metadata.set(peerHeader, peer);
          proceed(metadata);
        })
        .build();
      next(listener);
    },
  });

function peerOf(subjectAltNames: string | undefined, metadata: Metadata): Identity | undefined {
  const peer = identityOf(subjectAltNames);
  if (peer !== proxy) return peer;
  const [forwarded] = metadata.get(forwardedHeader);
  return typeof forwarded === "string" && isIdentity(forwarded) && forwarded !== proxy ? forwarded : undefined;
}

const kinds = { svc: "service", host: "host", admin: "admin" } as const;

/** The principal that `tellPeer` has written down; undefined for a proxy that does not say for whom it asks. */
export function peerPrincipal(metadata: { get(key: string): unknown }): Principal | undefined {
  const name = metadata.get(peerHeader);
  if (typeof name !== "string" || !isIdentity(name)) return undefined;
  const [kind = ""] = name.split("/");
  return kind in kinds ? { name, kind: kinds[kind as keyof typeof kinds] } : undefined;
}
