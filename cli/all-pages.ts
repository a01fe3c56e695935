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
