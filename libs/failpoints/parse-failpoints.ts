/** What a failpoint does; with `once`, only as long as that file does not exist. */
export type FailpointAction = (
  | { readonly kind: "kill" | "pause" | "throw" }
  | { readonly kind: "delay" | "block"; readonly ms: number }
) & { readonly once?: string };

/**
 * Reads `name=action;name=action`, where an action is `kill`, `pause`, `throw`, `delay:<ms>` or `block:<ms>`, and may end in
 * `@once:<file>`: then it fires once across restarts. Gives undefined when there are none.
 */
export function parseFailpoints(specification: string | undefined): Map<string, FailpointAction> | undefined {
  const entries = (specification ?? "").split(";").filter((entry) => entry.trim() !== "");
  return entries.length === 0 ? undefined : new Map(entries.map(parseEntry));
}

function parseEntry(entry: string): [string, FailpointAction] {
  const match = /^\s*([\w.-]+)=(kill|pause|throw|(?:delay|block):(\d+))(?:@once:(.+?))?\s*$/.exec(entry);
  const [, name, word, ms, file] = match ?? [];
  if (name === undefined || word === undefined) {
    throw new Error(
      `"${entry}" is no failpoint: write name=kill, pause, throw, delay:<ms> or block:<ms>, then @once:<file> if wanted`,
    );
  }
  return [name, { ...actionOf(word, ms), ...(file === undefined ? {} : { once: file }) }];
}

function actionOf(word: string, ms: string | undefined): FailpointAction {
  if (word === "kill" || word === "pause" || word === "throw") return { kind: word };
  return { kind: word.startsWith("block") ? "block" : "delay", ms: Number(ms) };
}
