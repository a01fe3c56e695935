import { StillpointError } from "#libs/errors";
import type { ContainerEngine, EngineFacts, EngineImage } from "../container-engine.ts";
import type { Container } from "./container.ts";

/**
 * The user on the host that a container's process runs as. A name is looked up in the container's own /etc/passwd.
 * @throws StillpointError ARGUMENT_INVALID for a name that is not there
 */
export async function hostUser(
  engine: Pick<ContainerEngine, "readFile">,
  container: Container,
  { user }: Pick<EngineImage, "user">,
  { firstUser }: Pick<EngineFacts, "firstUser">,
): Promise<{ readonly uid: number; readonly gid: number }> {
  const [name = ""] = (container.definition.spec?.user || user).split(":");
  const uid = await inContainer(engine, container, name);
  return { uid: uid + (firstUser?.uid ?? 0), gid: firstUser?.gid ?? 0 };
}

async function inContainer(
  engine: Pick<ContainerEngine, "readFile">,
  { uid, name: container }: Container,
  name: string,
): Promise<number> {
  if (name === "" || name === "root") return 0;
  if (/^\d+$/.test(name)) return Number(name);
  const passwd = (await engine.readFile(uid, "/etc/passwd"))?.toString("utf8") ?? "";
  const entry = passwd.split("\n").find((line) => line.startsWith(`${name}:`));
  const id = entry?.split(":")[2];
  if (id !== undefined && /^\d+$/.test(id)) return Number(id);
  throw new StillpointError("ARGUMENT_INVALID", `the image of ${container} has no user ${name}`);
}
