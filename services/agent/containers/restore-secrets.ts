import { StillpointError } from "#libs/errors";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { hostUser } from "./container-user.ts";

/** Puts a container's secrets back into memory, which a boot has emptied. */
export async function restoreSecrets(parts: ContainerParts, container: Container): Promise<void> {
  const { secrets, images, engine } = parts;
  if (await secrets.areThere(container)) return;
  await secrets.restore(container);
  const contents = await images.find(container.manifest.image);
  if (contents === undefined) throw new StillpointError("IMAGE_NOT_FOUND", `the image of ${container.name} is gone`);
  await secrets.giveTo(container, await hostUser(engine, container, contents, parts.facts()));
}
