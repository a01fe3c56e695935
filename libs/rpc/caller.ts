import { ServerInterceptingCall, type ServerInterceptor, ServerListenerBuilder } from "@grpc/grpc-js";
import { identityPrincipal, type Principal } from "#libs/auth";
import { callerOf, forwardedHeader, isIdentity } from "#libs/tls";

/** Set by the server alone, whatever the caller sent. */
const callerHeader = "x-stillpoint-caller";

/** Writes into each call's metadata whom the certificate of its connection stands for. */
export const tellCaller: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start(next) {
      const listener = new ServerListenerBuilder()
        .withOnReceiveMetadata((metadata, proceed) => {
          const { sslPeerCertificate } = call.getAuthContext();
          const caller = callerOf(sslPeerCertificate?.subjectaltname, metadata.get(forwardedHeader)[0]);
          metadata.remove(callerHeader);
          if (caller !== undefined) metadata.set(callerHeader, caller);
          proceed(metadata);
        })
        .build();
      next(listener);
    },
  });

/** The principal that `tellCaller` has written down; undefined for a proxy that does not say for whom it asks. */
export function callerPrincipal(metadata: { get(key: string): unknown }): Principal | undefined {
  const caller = metadata.get(callerHeader);
  return typeof caller === "string" && isIdentity(caller) ? identityPrincipal(caller) : undefined;
}
