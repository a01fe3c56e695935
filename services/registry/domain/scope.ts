/** What a token is asked for, or is good for, as Docker's token specification writes it. */
export interface Scope {
  /** "repository" or "registry". */
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** Nobody needs more at a time; what is beyond is not looked at. */
const MAX_SCOPES = 100;

/** The scopes `type:name:action,action` in these texts, each of which may hold several; malformed ones count for nothing. */
export function parseScopes(texts: readonly string[]): Scope[] {
  return texts
    .flatMap((text) => text.split(" "))
    .slice(0, MAX_SCOPES)
    .map(parseScope)
    .filter((scope) => scope !== undefined);
}

export function scopeText({ type, name, actions }: Scope): string {
  return `${type}:${name}:${actions.join(",")}`;
}

export function holds(scopes: readonly Scope[], repository: string, action: string): boolean {
  return scopes.some(
    ({ type, name, actions }) => type === "repository" && name === repository && actions.includes(action),
  );
}

function parseScope(text: string): Scope | undefined {
  const [, type, name, actions] = /^([a-z]+):(.+):([a-z*,]*)$/.exec(text) ?? [];
  if (type === undefined || name === undefined || actions === undefined) return undefined;
  return { type, name, actions: actions.split(",").filter((action) => action !== "") };
}
