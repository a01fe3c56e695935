import type { Logger } from "#libs/logger";
import { OciError } from "../domain/oci-error.ts";
import type { LinkMeter, MeteredLink } from "../store/link-meter.ts";
import { projectOf, type QuotaStore } from "./quota-store.ts";
import { contentOf, type Recounter } from "./recounter.ts";
import type { Holding, Usage } from "./usage.ts";

export interface QuotaMeterDeps {
  readonly quotas: Pick<QuotaStore, "limitOf">;
  readonly usage: Usage;
  readonly recounter: Pick<Recounter, "ensure">;
  readonly logger: Logger;
}

/**
 * Counts what projects with a quota hold, and refuses what goes beyond. Room is taken before a link is written and
 * given back when it was not, or is removed; so a push that fails, wherever it does, holds nothing.
 */
export class QuotaMeter implements LinkMeter {
  readonly #deps: QuotaMeterDeps;

  constructor(deps: QuotaMeterDeps) {
    this.#deps = deps;
  }

  async adding(link: MeteredLink, sizeBytes: number): Promise<void> {
    const project = projectOf(link.repository);
    const limitBytes = this.#deps.quotas.limitOf(project);
    if (limitBytes === undefined) return;
    const { usage, recounter } = this.#deps;
    const reserve = () => usage.reserve(project, holdingOf(link), { sizeBytes, limitBytes });
    let reserved = await reserve();
    while (reserved === "uncounted") {
      await recounter.ensure(project);
      reserved = await reserve();
    }
    if (reserved === "over") throw await this.#over(project, sizeBytes, limitBytes);
  }

  async added(link: MeteredLink, sizeBytes: number): Promise<void> {
    const project = projectOf(link.repository);
    if (this.#deps.quotas.limitOf(project) === undefined) return;
    await this.#tell(() => this.#deps.usage.add(project, holdingOf(link), sizeBytes));
  }

  async removed(links: readonly MeteredLink[]): Promise<void> {
    const project = projectOf(links[0]?.repository ?? "");
    if (this.#deps.quotas.limitOf(project) === undefined) return;
    await this.#tell(() => this.#deps.usage.remove(project, links.map(holdingOf)));
  }

  async refuseBeyond(link: MeteredLink, sizeBytes: number): Promise<void> {
    const project = projectOf(link.repository);
    const limitBytes = this.#deps.quotas.limitOf(project);
    if (limitBytes === undefined) return;
    const { usage, recounter } = this.#deps;
    await recounter.ensure(project);
    const total = (await usage.total(project)) ?? 0;
    if (total + sizeBytes <= limitBytes || (await usage.holds(project, holdingOf(link).content))) return;
    throw await this.#over(project, sizeBytes, limitBytes);
  }

  /** What is done is done: should the index not hear of it, the next count sets it right. */
  async #tell(tell: () => Promise<void>): Promise<void> {
    await tell().catch((err: unknown) => this.#deps.logger.warn({ err }, "a quota is counted wrong for a while"));
  }

  async #over(project: string, sizeBytes: number, limitBytes: number): Promise<OciError> {
    const total = (await this.#deps.usage.total(project)) ?? 0;
    const message = `${project} holds ${total} of ${limitBytes} bytes, and this needs ${sizeBytes} more: delete images, or ask for a larger quota`;
    return new OciError("DENIED", message);
  }
}

function holdingOf({ repository, kind, digest }: MeteredLink): Holding {
  return { content: contentOf(kind, digest), repository };
}
