import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { EngineImage, EngineImages, RegistryLogin } from "../container-engine.ts";
import type { TransferControl } from "../ports.ts";
import { pullWithin } from "./pull-within.ts";
import type { PulledImages } from "./pulled-images.ts";

export interface ContainerImagesDeps {
  readonly images: EngineImages;
  /** Our registry, as the agent and the engine reach it. */
  readonly registryUrl: string;
  readonly login: RegistryLogin | undefined;
  readonly pulled: PulledImages;
  readonly clock: Clock;
  /** What is left for images. */
  readonly freeBytes: () => Promise<number>;
}

/** Images of containers: pulled by digest from our registry, each once, and known from then on. */
export class ContainerImages {
  readonly #deps: ContainerImagesDeps;
  readonly #known = new Map<string, EngineImage>();
  readonly #pulling = new Map<string, Promise<EngineImage>>();

  constructor(deps: ContainerImagesDeps) {
    this.#deps = deps;
  }

  get login(): RegistryLogin | undefined {
    return this.#deps.login;
  }

  /** What the engine calls a reference (`<repository>@sha256:...`) in our registry. */
  nameFor(reference: string): string {
    return `${engineHost(this.#deps.registryUrl)}/${reference}`;
  }

  /**
   * Pulls an image unless the engine has it. Who asks for one that is on its way waits for the same pull.
   * @param image what the engine calls it
   * @param architecture the engine's: an image for another is refused with IMAGE_ARCHITECTURE
   */
  async ensure(image: string, architecture: string, control: TransferControl): Promise<EngineImage> {
    const { pulled, clock } = this.#deps;
    const known = this.#known.get(image) ?? (await this.#inTurn(image, control));
    pulled.use(image, clock.now().getTime());
    if (known.architecture !== architecture) {
      const why = `${image} is for ${known.architecture}, and this host is ${architecture}`;
      throw new StillpointError("IMAGE_ARCHITECTURE", why);
    }
    return known;
  }

  /** An image that the engine has. */
  async find(image: string): Promise<EngineImage | undefined> {
    return this.#known.get(image) ?? (await this.#deps.images.find(image));
  }

  /** The engine was found without it, or was away. */
  forget(image?: string): void {
    if (image === undefined) this.#known.clear();
    else this.#known.delete(image);
  }

  async #inTurn(image: string, control: TransferControl): Promise<EngineImage> {
    const pulling = this.#pulling.get(image) ?? this.#pull(image, control);
    this.#pulling.set(image, pulling);
    try {
      return await pulling;
    } finally {
      if (this.#pulling.get(image) === pulling) this.#pulling.delete(image);
    }
  }

  async #pull(image: string, control: TransferControl): Promise<EngineImage> {
    const { images, login, pulled, clock, freeBytes } = this.#deps;
    let found = await images.find(image);
    if (found === undefined) {
      await pulled.begin(image, clock.now().getTime());
      await pullWithin(images, { image, login, control, freeBytes: await freeBytes() });
      found = await images.find(image);
    }
    if (found === undefined) throw new StillpointError("IMAGE_NOT_FOUND", `the engine does not have ${image}`);
    await pulled.has(image, found.sizeBytes);
    this.#known.set(image, found);
    return found;
  }
}

/** A name without a dot or a port would be taken for a repository of Docker Hub. */
function engineHost(registryUrl: string): string {
  const { host, port, protocol } = new URL(registryUrl);
  if (port !== "" || host.includes(".")) return host;
  return `${host}:${protocol === "https:" ? 443 : 80}`;
}
