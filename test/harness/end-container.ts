import type Docker from "dockerode";
import { endGroup, findGroup } from "../../services/agent/lease/control-group.ts";

/**
 * Removes a container of that name, its volumes, and networks where it was the last, also one whose processes a guard
 * holds; one that is gone is right.
 */
export async function endContainer(docker: Docker, name: string): Promise<void> {
  const container = docker.getContainer(name);
  const found = await container.inspect().catch(() => undefined);
  const group = found === undefined ? undefined : findGroup(found.Id);
  if (group !== undefined) await endGroup(group);
  if (found !== undefined) await container.remove({ force: true, v: true });
  const { Volumes } = await docker.listVolumes();
  for (const volume of Volumes.filter((it) => it.Name.includes(name))) await docker.getVolume(volume.Name).remove();
  for (const network of Object.keys(found?.NetworkSettings.Networks ?? {})) await removeUnused(docker, network);
}

async function removeUnused(docker: Docker, name: string): Promise<void> {
  const network = docker.getNetwork(name);
  const found = (await network.inspect().catch(() => undefined)) as
    | { Containers?: Record<string, unknown> }
    | undefined;
  if (found !== undefined && Object.keys(found.Containers ?? {}).length === 0) await network.remove();
}
