import type { Terminal } from "./terminal.ts";
import { UsageError } from "./usage-error.ts";

/** Files for TLS; what is left out comes from the environment. */
export interface IdentityOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Takes the person's certificate, where one is named, for every connection that this command makes. */
export async function identify({ env }: Terminal, { ca, cert, key }: IdentityOptions): Promise<void> {
  const named = { TLS_CA: ca ?? env.TLS_CA, TLS_CERT: cert ?? env.TLS_CERT, TLS_KEY: key ?? env.TLS_KEY };
  const files = Object.fromEntries(Object.entries(named).filter(([, path]) => path !== undefined && path !== ""));
  if (Object.keys(files).length === 0) return;
  const { takeIdentity } = await import("#libs/tls");
  try {
    takeIdentity(files);
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), {
      help: "Name the three files with --ca, --cert and --key, or TLS_CA, TLS_CERT and TLS_KEY.",
    });
  }
}
