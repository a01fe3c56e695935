import { type IdentityOptions, identify } from "./identify.ts";
import type { Terminal } from "./terminal.ts";

export interface RegistryOptions extends IdentityOptions {
  readonly registry?: string;
}

const fallback = "http://127.0.0.1:7080";

/** The description of --registry. */
export const registryHelp = `the registry (default: STILLPOINT_REGISTRY, or ${fallback})`;

/** Gives `work` a client of the registry, and lets it go afterwards. */
export async function withRegistry<Result>(
  terminal: Terminal,
  options: RegistryOptions,
  work: (registry: import("#libs/oci").RegistryClient) => Promise<Result>,
): Promise<Result> {
  await identify(terminal, options);
  const [{ createRegistryClient }, { registryLogin }] = await Promise.all([
    import("#libs/oci"),
    import("#libs/config"),
  ]);
  const address = options.registry ?? terminal.env.STILLPOINT_REGISTRY ?? fallback;
  const registry = createRegistryClient({ address, login: registryLogin(terminal.env) });
  try {
    return await work(registry);
  } finally {
    registry.close();
  }
}
