import { type TlsFiles, TlsIdentity } from "./tls-identity.ts";

/** The variables, as libs/config reads them. */
export interface TlsConfig {
  readonly TLS_CA?: string | undefined;
  readonly TLS_CERT?: string | undefined;
  readonly TLS_KEY?: string | undefined;
}

let own: TlsIdentity | undefined;

/**
 * Gives this process its identity, for every server and client in it: one that forgot about TLS would speak plainly.
 * Does nothing when no variable is set. Call it before anything listens or connects.
 */
export function takeIdentity(config: TlsConfig): void {
  const files = filesOf(config);
  own?.close();
  own = files && new TlsIdentity(files);
}

/** Undefined means that there is no TLS. */
export const ownIdentity = (): TlsIdentity | undefined => own;

function filesOf({ TLS_CA: ca, TLS_CERT: cert, TLS_KEY: key }: TlsConfig): TlsFiles | undefined {
  if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key };
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  throw new Error("TLS needs all of TLS_CA, TLS_CERT and TLS_KEY, or none");
}
