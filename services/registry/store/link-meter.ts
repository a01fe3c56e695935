import type { LinkKind } from "./keys.ts";

/** A blob or manifest of a repository. */
export interface MeteredLink {
  readonly repository: string;
  readonly kind: LinkKind;
  readonly digest: string;
}

/** Told of all links that come and go, by whoever writes them. */
export interface LinkMeter {
  /** Before a link is written. @throws OciError DENIED when there is no room for it */
  adding(link: MeteredLink, sizeBytes: number): Promise<void>;
  /** After it was written. */
  added(link: MeteredLink, sizeBytes: number): Promise<void>;
  /** After they are gone, or were not written. */
  removed(links: readonly MeteredLink[]): Promise<void>;
  /** Before the content is taken in at all. @throws OciError DENIED */
  refuseBeyond(link: MeteredLink, sizeBytes: number): Promise<void>;
}

const nothing = async (): Promise<void> => {};

/** Where nobody counts. */
export const unmetered: LinkMeter = { adding: nothing, added: nothing, removed: nothing, refuseBeyond: nothing };
