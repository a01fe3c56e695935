import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { ChannelCredentials, experimental, ServerCredentials } from "@grpc/grpc-js";
import { type Identity, identityOf, type TlsIdentity, type TlsPem } from "#libs/tls";
import { addressesOf, hostOf } from "./address-list.ts";

/** TLS, mutual but for `anyone`, with a certificate that may be renewed while the server listens. */
class RenewedServerCredentials extends ServerCredentials {
  constructor(tls: TlsIdentity, { anyone = false } = {}) {
    const shown = ({ ca, cert, key }: TlsPem) => ({ ca, key, cert: anyone ? Buffer.concat([cert, ca]) : cert });
    super({ requestCert: !anyone, rejectUnauthorized: true, minVersion: "TLSv1.3" }, shown(tls.pem));
    tls.onRenewal((pem) => this.updateSecureContextOptions(shown(pem)));
  }

  _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** Whoever connects must have a certificate of our authority. */
export const serverCredentials = (tls: TlsIdentity): ServerCredentials => new RenewedServerCredentials(tls);

/** Whoever connects needs no certificate, and is shown the authority's. */
export const anyoneCredentials = (tls: TlsIdentity): ServerCredentials =>
  new RenewedServerCredentials(tls, { anyone: true });

interface Dialled {
  /** One, or several separated by commas. */
  readonly address: string;
  readonly peer?: Identity | undefined;
}

/**
 * The other side must have a certificate of our authority, for the name or IP address that is dialled (one of them,
 * where there are several); or, with `peer`, for that identity, whatever its address.
 */
export function channelCredentials({
  tls,
  address,
  peer,
}: Dialled & { readonly tls: TlsIdentity }): ChannelCredentials {
  const provider = providerOf(tls);
  return experimental.createCertificateProviderChannelCredentials(provider, provider, {
    checkServerIdentity: (_name, certificate) =>
      peer === undefined ? checkHosts(addressesOf(address), certificate) : checkPeer(peer, certificate),
  });
}

/** Passes for one of them. */
function checkHosts(addresses: readonly string[], certificate: PeerCertificate): Error | undefined {
  const failures = addresses.map((address) => checkServerIdentity(hostOf(address), certificate));
  return failures.includes(undefined) ? undefined : failures[0];
}

/** The other side must be a service, or the proxy before it, by a certificate of this authority; we have none to show. */
export const serviceCredentials = (authority: string): ChannelCredentials =>
  ChannelCredentials.createSsl(Buffer.from(authority), null, null, {
    checkServerIdentity: (_name, { subjectaltname }) => {
      const found = identityOf(subjectaltname);
      return found?.startsWith("svc/") ? undefined : new Error(`${found ?? "somebody"} answers instead of a service`);
    },
  });

/** The channel option for what the handshake asks for: it may not be an IP address (RFC 6066, section 3). */
export function serverName({ address, peer }: Dialled): { "grpc.ssl_target_name_override"?: string } {
  if (peer !== undefined) return { "grpc.ssl_target_name_override": peer.replace("/", ".") };
  const isNamed = addressesOf(address).every((it) => isIP(hostOf(it)) === 0);
  return isNamed ? {} : { "grpc.ssl_target_name_override": "stillpoint" };
}

function checkPeer(peer: Identity, { subjectaltname }: { subjectaltname?: string }): Error | undefined {
  const found = identityOf(subjectaltname);
  return found === peer ? undefined : new Error(`${found ?? "somebody"} answers instead of ${peer}`);
}

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
