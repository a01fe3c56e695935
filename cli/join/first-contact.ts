import { once } from "node:events";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { StillpointError } from "#libs/errors";
import { fingerprintOf } from "#libs/tls";

export interface FirstContact {
  /** PEM of the authority's certificate. */
  readonly authority: string;
  /** This machine's address on the way there. */
  readonly ownAddress: string;
}

const connectMs = 10_000;

/**
 * The authority of who answers there, if it is the one of that fingerprint. Nothing is told or believed: it only gives
 * what later connections are checked against. Fails with UNAVAILABLE, AUTHORITY_MISMATCH.
 */
export async function meet(address: string, fingerprint: string): Promise<FirstContact> {
  const [, host = "", port] = /^\[?([^[\]]+?)\]?:(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined) throw new StillpointError("ARGUMENT_INVALID", `"${address}" is not host:port`);
  // oxlint-disable-next-line -- whom we speak with is checked below, by its authority's fingerprint
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  try {
    await once(socket, "secureConnect", { signal: AbortSignal.timeout(connectMs) });
    const authority = chainOf(socket.getPeerCertificate(true)).find((pem) => fingerprintOf(pem) === fingerprint);
    if (authority !== undefined) return { authority, ownAddress: socket.localAddress ?? "" };
  } catch (cause) {
    throw new StillpointError("UNAVAILABLE", `cannot reach ${address}`, {
      cause,
      help: "Name the address where machines join: JOIN_ADDRESS of the scheduler, port 7079.",
    });
  } finally {
    socket.destroy();
  }
  throw new StillpointError("AUTHORITY_MISMATCH", `${address} is not of the control plane that the token is of`);
}

function chainOf(certificate: DetailedPeerCertificate): string[] {
  const chain: string[] = [];
  for (let next = certificate; next?.raw !== undefined; next = next.issuerCertificate) {
    chain.push(`-----BEGIN CERTIFICATE-----\n${next.raw.toString("base64")}\n-----END CERTIFICATE-----\n`);
    // A root is its own issuer.
    if (next.issuerCertificate === next) break;
  }
  return chain;
}
