import { mediaTypes } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import { type Page, pageOf } from "../domain/page.ts";
import { checkedDigest } from "./blobs.ts";
import { answerJson, type Exchange, type OciDeps } from "./exchange.ts";

/** GET /v2/: the API is spoken here. */
export async function getVersion(_deps: OciDeps, exchange: Exchange): Promise<void> {
  answerJson(exchange, {});
}

export async function getTags({ repositories }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository } = exchange;
  if (!(await repositories.exists(repository))) throw new OciError("NAME_UNKNOWN", "there is no such repository");
  const page = pageOf(await repositories.tags(repository), pageQuery(exchange));
  answerJson(exchange, { name: repository, tags: page.items }, nextPage(exchange, `/v2/${repository}/tags/list`, page));
}

export async function getCatalog({ repositories }: OciDeps, exchange: Exchange): Promise<void> {
  const page = pageOf(await repositories.list(), pageQuery(exchange));
  answerJson(exchange, { repositories: page.items }, nextPage(exchange, "/v2/_catalog", page));
}

/** An index of the manifests with that subject; empty where there is neither subject nor repository. */
export async function getReferrers({ repositories }: OciDeps, exchange: Exchange): Promise<void> {
  const { repository, reference, query } = exchange;
  const wanted = query.get("artifactType");
  const all = await repositories.referrers(repository, checkedDigest(reference));
  const manifests = wanted === null ? all : all.filter(({ artifactType }) => artifactType === wanted);
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
  const filters = wanted === null ? {} : { "oci-filters-applied": "artifactType" };
  answerJson(exchange, index, { headers: { "content-type": mediaTypes.index, ...filters } });
}

function pageQuery({ query }: Exchange) {
  return { n: query.get("n"), last: query.get("last") };
}

function nextPage({ query }: Exchange, path: string, { last }: Page): { headers?: { link: string } } {
  if (last === undefined) return {};
  const next = new URLSearchParams({ n: query.get("n") ?? "", last });
  return { headers: { link: `<${path}?${next.toString()}>; rel="next"` } };
}
