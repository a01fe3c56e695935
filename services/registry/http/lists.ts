import { may } from "#libs/auth";
import { mediaTypes } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import { type Page, pageOf, readPageQuery } from "../domain/page.ts";
import { checkedDigest } from "./blobs.ts";
import { answerJson, type Exchange, type OciDeps } from "./exchange.ts";

/** Clients take so much at least (distribution-spec, "Pushing Manifests"): longer lists of referrers come in pages. */
const MAX_INDEX_BYTES = 4 * 2 ** 20;

/** GET /v2/: the API is spoken here. */
export async function getVersion(_deps: OciDeps, exchange: Exchange): Promise<void> {
  answerJson(exchange, {});
}

export async function getTags({ repositories }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository } = exchange;
  if (!(await repositories.exists(repository))) throw new OciError("NAME_UNKNOWN", "there is no such repository");
  const query = readPageQuery(exchange.query);
  // One more than the page has tells whether there is another.
  const limit = query.size === undefined ? undefined : query.size + 1;
  const page = pageOf(await repositories.tags(repository, { after: query.last, limit }), query);
  answerJson(exchange, { name: repository, tags: page.items }, { headers: nextPage(exchange, page) });
}

/** The repositories that whoever asks may pull from. A page may have fewer than it could: some are empty. */
export async function getCatalog({ repositories }: OciDeps, exchange: Exchange): Promise<void> {
  const { principal } = exchange;
  const names = (await repositories.list()).filter((name) => may(principal, "get", `repositories/${name}`));
  const page = pageOf(names, readPageQuery(exchange.query));
  const isThere = await Promise.all(page.items.map((name) => repositories.exists(name)));
  const found = page.items.filter((_name, place) => isThere[place]);
  answerJson(exchange, { repositories: found }, { headers: nextPage(exchange, page) });
}

/** An index of the manifests with that subject; empty where there is neither subject nor repository. */
export async function getReferrers({ repositories }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, reference, query } = exchange;
  const wanted = query.get("artifactType");
  const all = await repositories.referrers(repository, checkedDigest(reference));
  const fitting = wanted === null ? all : all.filter(({ artifactType }) => artifactType === wanted);
  const byDigest = new Map(fitting.map((descriptor) => [descriptor.digest, descriptor]));
  const page = pageOf([...byDigest.keys()], readPageQuery(query), {
    maxBytes: MAX_INDEX_BYTES,
    sizeOf: (digest) => Buffer.byteLength(JSON.stringify(byDigest.get(digest))),
  });
  const manifests = page.items.map((digest) => byDigest.get(digest));
  const filters = wanted === null ? {} : { "oci-filters-applied": "artifactType" };
  answerJson(
    exchange,
    { schemaVersion: 2, mediaType: mediaTypes.index, manifests },
    {
      headers: { "content-type": mediaTypes.index, ...filters, ...nextPage(exchange, page) },
    },
  );
}

/** The link is relative and keeps what else was asked for. */
function nextPage({ request, query }: Exchange, { last }: Page): { link?: string } {
  if (last === undefined) return {};
  const next = new URLSearchParams(query);
  next.set("last", last);
  return { link: `<${request.url?.split("?")[0]}?${next.toString()}>; rel="next"` };
}
