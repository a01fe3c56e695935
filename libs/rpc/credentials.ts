import { ChannelCredentials, experimental, ServerCredentials } from "@grpc/grpc-js";
import { type Identity, identityOf, type TlsIdentity } from "#libs/tls";

/** Mutual TLS with a certificate that may be renewed while the server listens. */
class RenewedServerCredentials extends ServerCredentials {
  constructor(tls: TlsIdentity) {
    super({ requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" }, { ...tls.pem });
    tls.onRenewal((pem) => this.updateSecureContextOptions({ ...pem }));
  }

  _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** Whoever connects must have a certificate of our authority. */
export const serverCredentials = (tls: TlsIdentity): ServerCredentials => new RenewedServerCredentials(tls);

/**
 * The other side must have a certificate of our authority, for the name or IP address that is dialled; or, with `peer`,
 * for that identity, whatever its address.
 */
export function channelCredentials(tls: TlsIdentity, peer?: Identity): ChannelCredentials {
  const provider = providerOf(tls);
  const verify = peer === undefined ? {} : { checkServerIdentity: isPeer(peer) };
  return experimental.createCertificateProviderChannelCredentials(provider, provider, verify);
}

const isPeer =
  (peer: Identity) =>
  (_host: string, { subjectaltname }: { subjectaltname?: string }): Error | undefined => {
    const found = identityOf(subjectaltname);
    return found === peer ? undefined : new Error(`${found ?? "somebody"} answers instead of ${peer}`);
  };

type Provider = experimental.CertificateProvider;

/** Tells grpc-js of the files, now and when they are renewed; it wants to be told after it has asked. */
function providerOf(tls: TlsIdentity): Provider {
  const ends = new Map<unknown, () => void>();
  const listen = (listener: unknown, tell: () => void) => {
    ends.set(listener, tls.onRenewal(tell));
    process.nextTick(tell);
  };
  const forget = (listener: unknown) => {
    ends.get(listener)?.();
    ends.delete(listener);
  };
  return {
    addCaCertificateListener: (listener) => listen(listener, () => listener({ caCertificate: tls.pem.ca })),
    addIdentityCertificateListener: (listener) =>
      listen(listener, () => listener({ certificate: tls.pem.cert, privateKey: tls.pem.key })),
    removeCaCertificateListener: forget,
    removeIdentityCertificateListener: forget,
  };
}
