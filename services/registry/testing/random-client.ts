import { randomBytes, randomInt } from "node:crypto";
import { digestOf } from "#libs/oci";
import { pushBlob, pushManifest } from "../http/oci-fixture.ts";

/** Of this many a repository may have what is mounted. */
const REPOSITORIES = 4;

/** Layers that all clients push again and again, so that they come and go in several repositories at once. */
const sharedLayers = Array.from({ length: 12 }, () => randomBytes(2_000));

/** A client that pushes, mounts, deletes and re-tags at random, alone in its repository; for tests. */
export class RandomClient {
  readonly #repository: string;
  readonly #url: () => string;
  /** What the tags must give, as far as it was told. */
  readonly #tags = new Map<string, { readonly digest: string; readonly layers: readonly Buffer[] }>();
  pushes = 0;

  /** @param url the replica that is asked next */
  constructor(number: number, url: () => string) {
    this.#repository = `random/c${number}`;
    this.#url = url;
  }

  async work(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const tag = `t${randomInt(6)}`;
      const deed = randomInt(10);
      // What a client was not told is not known: the tag is tried again.
      if (deed < 7) await this.#push(tag).catch(() => this.#tags.delete(tag));
      else await this.#delete(tag, deed === 7).catch(() => {});
    }
  }

  /** What should be there and cannot be pulled. */
  async broken(): Promise<string[]> {
    const wrong: string[] = [];
    for (const [tag, { digest, layers }] of this.#tags) {
      const manifest = await fetch(this.#target(`manifests/${tag}`));
      if (digestOf(Buffer.from(await manifest.arrayBuffer())) !== digest) wrong.push(`${this.#repository}:${tag}`);
      for (const layer of layers) {
        const blob = await fetch(this.#target(`blobs/${digestOf(layer)}`));
        if (!Buffer.from(await blob.arrayBuffer()).equals(layer)) wrong.push(`${this.#repository}:${tag} layer`);
      }
    }
    return wrong;
  }

  #target(path: string): string {
    return `${this.#url()}/v2/${this.#repository}/${path}`;
  }

  async #push(tag: string): Promise<void> {
    this.#tags.delete(tag);
    const layers = sharedLayers.filter(() => randomInt(4) === 0);
    const extra = { annotations: { random: `${randomInt(3)}` } };
    const missing: Buffer[] = [];
    for (const layer of [Buffer.from("{}"), ...layers]) {
      const head = await fetch(this.#target(`blobs/${digestOf(layer)}`), { method: "HEAD" });
      if (head.status !== 200) missing.push(layer);
    }
    for (const layer of missing) await this.#send(layer);
    const what = { layers, extra, areLayersThere: true };
    const { response, digest } = await pushManifest(this.#url(), this.#repository, tag, what);
    if (response.status !== 201) return;
    this.pushes += 1;
    this.#tags.set(tag, { digest, layers });
  }

  async #send(layer: Buffer): Promise<void> {
    const from = `random/c${randomInt(REPOSITORIES)}`;
    const target = this.#target(`blobs/uploads/?mount=${digestOf(layer)}&from=${from}`);
    const isMounted = randomInt(2) === 0 && (await fetch(target, { method: "POST" })).status === 201;
    if (!isMounted) await pushBlob(this.#url(), this.#repository, layer);
  }

  async #delete(tag: string, byDigest: boolean): Promise<void> {
    const known = this.#tags.get(tag);
    if (known === undefined) return;
    for (const [other, { digest }] of this.#tags) {
      if (other === tag || (byDigest && digest === known.digest)) this.#tags.delete(other);
    }
    await fetch(this.#target(`manifests/${byDigest ? known.digest : tag}`), { method: "DELETE" });
  }
}
