import { realpath, stat } from "node:fs/promises";
import type { ContainerSpec } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import type { HostMount } from "./isolation.ts";

/**
 * The host's folders that a container mounts, by what its spec calls them, with every symbolic link followed. Each must
 * lie below the root then. @throws StillpointError OPTION_FORBIDDEN for all that is missing or elsewhere alike
 */
export async function resolveHostPaths(
  { volumes }: ContainerSpec,
  hostRoot: string | undefined,
): Promise<Map<string, HostMount>> {
  const mounts = new Map<string, HostMount>();
  for (const { hostPath, readOnly } of volumes) {
    if (hostPath !== "") mounts.set(hostPath, { path: await resolveBelow(hostRoot, hostPath), readOnly });
  }
  return mounts;
}

async function resolveBelow(hostRoot: string | undefined, hostPath: string): Promise<string> {
  try {
    if (hostRoot !== undefined && hostPath.startsWith("/")) {
      const [root, path] = await Promise.all([realpath(hostRoot), realpath(hostPath)]);
      if (path.startsWith(`${root}/`) && (await stat(path)).isDirectory()) return path;
    }
  } catch (error) {
    throw refusal(hostPath, error);
  }
  throw refusal(hostPath);
}

/** Says the same of a path outside the root whether it exists or not. */
function refusal(hostPath: string, cause?: unknown): StillpointError {
  return new StillpointError("OPTION_FORBIDDEN", `${hostPath} is not a folder below the root that the host allows`, {
    cause,
  });
}
