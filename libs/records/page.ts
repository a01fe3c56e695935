import { StillpointError } from "#libs/errors";
import { pageSize as sizeOf } from "./page-size.ts";
import type { StoredRecord } from "./record.ts";
import type { RecordView } from "./record-view.ts";

/** A list's request, as every API says it. */
export interface PageRequest {
  /** 0: 500; at most 1000. */
  readonly pageSize: number;
  /** Empty: the first page. */
  readonly pageToken: string;
  /** The view waits until it knows this token. */
  readonly waitFor?: number;
}

export interface Page<Item> {
  readonly items: Item[];
  /** What the list holds: a watch from the first page's token misses nothing. */
  readonly token: number;
  /** Empty: that was the last page. */
  readonly nextPageToken: string;
}

export interface PageOptions<Body, Item> {
  /** Only names that begin so. */
  readonly prefix: string;
  /** A record as the API shows it. */
  readonly show: (stored: StoredRecord<Body>) => Item;
  /** Writes the message of which the page is made: a page ends when it would not fit through gRPC. */
  readonly codec: { encode(item: Item): { finish(): Uint8Array } };
  readonly signal: AbortSignal;
}

const usualSize = 500;
/** Half of what gRPC takes at once. */
const mostBytes = 8 * 2 ** 20;

/**
 * One page of a list in the order of names. A page token says after which name it goes on, and what the replica that
 * gave it knew: any replica answers the next page, and none from before that. Fails with ARGUMENT_INVALID for a page
 * size below 0 and a token that no page gave.
 */
export async function readPage<Body, Item>(
  view: Pick<RecordView<Body>, "waitFor" | "list" | "token">,
  request: PageRequest,
  { prefix, show, codec, signal }: PageOptions<Body, Item>,
): Promise<Page<Item>> {
  const limit = sizeOf(request.pageSize, usualSize);
  const from = readToken(request.pageToken);
  await view.waitFor(Math.max(from.token, request.waitFor ?? 0), signal);
  const after = from.name === undefined ? undefined : `${prefix}${from.name}`;
  const found = view.list(prefix, { after, limit: limit + 1 });
  const items: Item[] = [];
  let bytes = 0;
  for (const stored of found.slice(0, limit)) {
    const item = show(stored);
    bytes += codec.encode(item).finish().length;
    if (items.length > 0 && bytes > mostBytes) break;
    items.push(item);
  }
  const last = items.length < found.length ? found[items.length - 1]?.name.slice(prefix.length) : undefined;
  const { token } = view;
  return { items, token, nextPageToken: last === undefined ? "" : `${Math.max(from.token, token)}.${last}` };
}

function readToken(text: string): { readonly token: number; readonly name?: string } {
  if (text === "") return { token: 0 };
  const [, token, name] = /^(\d{1,16})\.(.+)$/.exec(text) ?? [];
  if (token !== undefined && name !== undefined) return { token: Number(token), name };
  throw new StillpointError("ARGUMENT_INVALID", "page_token is not one that a page has given", {
    help: "Take next_page_token of the page before as it is, or leave it empty for the first page.",
  });
}
