/** All items of a list that comes in pages, and what its first page held: a watch from there misses nothing. */
export async function readAllPages<Item>(
  readPage: (pageToken: string) => Promise<{ items: readonly Item[]; token: number; nextPageToken: string }>,
): Promise<{ items: Item[]; token: number; nextPageToken: string }> {
  let first: number | undefined;
  const items = await allPages(async (pageToken) => {
    const { token, nextPageToken, ...page } = await readPage(pageToken);
    first ??= token;
    return { ...page, next: nextPageToken };
  });
  return { items, token: first ?? 0, nextPageToken: "" };
}

/** All items of a list that comes in pages. */
export async function allPages<Item>(
  readPage: (pageToken: string) => Promise<{ readonly items: readonly Item[]; readonly next: string }>,
): Promise<Item[]> {
  const all: Item[] = [];
  for (let token = ""; ; ) {
    const { items, next } = await readPage(token);
    all.push(...items);
    if (next === "") return all;
    token = next;
  }
}
