import { StillpointError } from "#libs/errors";

const PREFIX = "rec.";
const NAME = /^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*$/;

/** The REC subject of a resource: `rec.` and the name with `/` as `.`. Fails with NAME_INVALID. */
export function subjectOfName(name: string): string {
  if (!NAME.test(name)) throw new StillpointError("NAME_INVALID", `"${name}" is not a resource name`);
  return PREFIX + name.replaceAll("/", ".");
}

/** The resource name behind a REC subject. */
export function nameOfSubject(subject: string): string {
  return subject.slice(PREFIX.length).replaceAll(".", "/");
}

/** True when a NATS subject filter (`*` is one token, a last `>` one or more) covers the subject. */
export function matchesFilter(filter: string, subject: string): boolean {
  const wildcard = filter.search(/[*>]/);
  if (wildcard > 0 && !subject.startsWith(filter.slice(0, wildcard))) return false;
  const wanted = filter.split(".");
  const tokens = subject.split(".");
  for (const [index, want] of wanted.entries()) {
    if (want === ">") return tokens.length > index;
    const token = tokens[index];
    if (token === undefined || (want !== "*" && want !== token)) return false;
  }
  return tokens.length === wanted.length;
}
