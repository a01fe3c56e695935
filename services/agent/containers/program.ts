import { join } from "node:path/posix";
import { StillpointError } from "#libs/errors";
import type { ContainerEngine, EngineImage, PathInContainer } from "../container-engine.ts";
import type { Container } from "./container.ts";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ANY_MAY_RUN = 0o111;

/**
 * Looks once for each image and program whether there is such a program, as the engine's init would only say so by
 * ending at once. @throws StillpointError COMMAND_NOT_FOUND
 */
export class Programs {
  readonly #engine: Pick<ContainerEngine, "look">;
  /** Image id, program and where it is looked for, of those that were found. */
  readonly #found = new Set<string>();

  constructor(engine: Pick<ContainerEngine, "look">) {
    this.#engine = engine;
  }

  /** @param container as the engine has made it; it need not run */
  async check(container: Container, image: EngineImage): Promise<void> {
    const { spec } = container.definition;
    if (spec === undefined) return;
    // An entrypoint of the spec puts the image's command aside too.
    const [program] = spec.entrypoint.length > 0 ? spec.entrypoint : [...image.entrypoint, ...commandOf(spec, image)];
    if (program === undefined) throw notFound(container, "its image names no program, and neither does its command");
    const places = placesOf(program, spec, image);
    const key = [image.id, ...places].join("\0");
    if (this.#found.has(key)) return;
    for (const place of places) {
      const seen = await this.#engine.look(container.uid, place);
      if (seen !== undefined && mayRun(seen)) return void this.#found.add(key);
    }
    throw notFound(container, `${program} is not a program in its image`);
  }
}

/** Where a link leads is for the engine to find out. */
function mayRun({ mode, isLink, isFolder }: PathInContainer): boolean {
  return isLink || (!isFolder && (mode & ANY_MAY_RUN) !== 0);
}

function commandOf(spec: { readonly command: readonly string[] }, image: EngineImage): readonly string[] {
  return spec.command.length > 0 ? spec.command : image.command;
}

function placesOf(
  program: string,
  spec: { readonly env: { readonly PATH?: string }; readonly workingDir: string },
  image: EngineImage,
): string[] {
  if (program.startsWith("/")) return [program];
  if (program.includes("/")) return [join("/", spec.workingDir || image.workingDir, program)];
  const ofImage = image.env.find((entry) => entry.startsWith("PATH="))?.slice("PATH=".length);
  const path = spec.env.PATH ?? ofImage ?? DEFAULT_PATH;
  return path.split(":").map((folder) => join("/", folder, program));
}

function notFound({ name }: Container, why: string): StillpointError {
  return new StillpointError("COMMAND_NOT_FOUND", `${name} cannot run: ${why}`);
}
