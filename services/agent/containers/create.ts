import type { ContainerDefinition } from "#contracts/host/v1/agent";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { EngineImage } from "../container-engine.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Container, ContainerManifest } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { hostUser } from "./container-user.ts";
import { resolveHostPaths } from "./host-paths.ts";
import { type HostMount, refuseForbidden, refuseNested } from "./isolation.ts";
import { recipeOf } from "./recipe.ts";

/** Pulls the image unless the engine has it, writes the container down, and has the engine make it. */
export async function createContainer(
  parts: ContainerParts,
  context: StepContext,
  definition: ContainerDefinition,
): Promise<Container> {
  const { spec } = definition;
  if (spec === undefined || definition.uid !== context.uid) {
    throw new StillpointError("ARGUMENT_INVALID", `the definition of ${definition.uid} came for ${context.uid}`);
  }
  refuseForbidden(spec, parts.policy);
  const hostMounts = await resolveHostPaths(spec, parts.policy.hostRoot);
  refuseNested([...hostMounts.values()], mountsOfOthers(parts, context.uid));
  // With a checkpoint, its image is the one that comes with it.
  const image = spec.image === "" || spec.fromCheckpoint !== "" ? "" : parts.images.nameFor(spec.image);
  const contents = image === "" ? undefined : await ensureImage(parts, context, image);
  const make = async (container: Container) => {
    if (contents === undefined) return;
    await makeOrPullAgain(parts, context, container, { image, contents, hostMounts });
  };
  const known = parts.containers.find(definition.uid);
  if (known === undefined) {
    if (image === "") await refuseForeign(parts, definition);
    const manifest: ContainerManifest = {
      ...{ version: 1, uid: context.uid, owner: { operation: context.operation, epoch: context.epoch } },
      ...{ image, hostMounts: [...hostMounts.values()], isStopped: false },
      hasHealthCheck: spec.healthCheck !== undefined || contents?.hasHealthCheck === true,
    };
    return await parts.containers.add(definition, manifest, make);
  }
  await make(known);
  return known;
}

/** A container that moves here has its uid already, and an engine has each only once. */
async function refuseForeign({ engine }: ContainerParts, { uid, name }: ContainerDefinition): Promise<void> {
  if ((await engine.find(uid)) === undefined) return;
  throw new StillpointError("CONTAINER_NOT_MOVABLE", `${name} stays: both hosts use the same container engine`);
}

/** Somebody may have removed the image since it was seen. */
async function makeOrPullAgain(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  from: MadeFrom,
): Promise<void> {
  try {
    await makeInEngine(parts, container, from);
  } catch (error) {
    if (!isStillpointError(error, "IMAGE_NOT_FOUND")) throw error;
    parts.images.forget(from.image);
    await makeInEngine(parts, container, { ...from, contents: await ensureImage(parts, context, from.image) });
  }
}

function mountsOfOthers({ containers }: ContainerParts, uid: string): HostMount[] {
  return containers.list().flatMap((other) => (other.uid === uid ? [] : other.manifest.hostMounts));
}

export interface MadeFrom {
  /** What the engine calls it. */
  readonly image: string;
  readonly contents: EngineImage;
  /** By what the spec calls them; `resolveHostPaths` gives them. */
  readonly hostMounts: ReadonlyMap<string, HostMount>;
}

/** Has the engine make a container of an image that it has; one that is there already stays as it is. */
export async function makeInEngine(parts: ContainerParts, container: Container, from: MadeFrom): Promise<void> {
  const { engine, secrets, networks } = parts;
  const { image, contents, hostMounts } = from;
  const { uid, definition } = container;
  const { spec } = definition;
  if (spec === undefined) throw new StillpointError("INTERNAL", `${uid} has no spec`);
  if (!(await secrets.areThere(container))) await secrets.restore(container);
  const network = spec.isolated ? null : await networks.ensure(projectOf(container), uid);
  const hostname = definition.name.split("/").at(-1) ?? uid;
  await engine.create(
    recipeOf({
      ...{ uid, hostname, spec, image, contents, network, hostMounts },
      secrets: secrets.folderOf(container),
    }),
  );
  await parts.programs.check(container, contents);
  if (secrets.folderOf(container) !== undefined) {
    await secrets.giveTo(container, await hostUser(engine, container, contents, parts.facts()));
  }
}

/** The `projects/<project>` of a container. */
export function projectOf({ name }: Container): string {
  return name.split("/").slice(0, 2).join("/");
}

async function ensureImage(parts: ContainerParts, context: StepContext, image: string): Promise<EngineImage> {
  const { signal, progress } = context;
  return await parts.images.ensure(image, parts.facts().architecture, {
    signal,
    progress: (bytes) => progress({ ...bytes, message: "pulling the image" }),
  });
}
