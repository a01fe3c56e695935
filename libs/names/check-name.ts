import { StillpointError } from "#libs/errors";

const chosen = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/;
const assigned = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
// Control characters, halves of surrogate pairs, line and paragraph separators.
const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * Gives a name that a person chose for a `kind` of thing ("VM", "project") back when it is one: a lower-case letter,
 * then letters, digits and dashes, 63 at most, no dash at the end. Fails with NAME_INVALID.
 */
export function checkName(kind: string, name: string): string {
  if (!chosen.test(name)) throw new StillpointError("NAME_INVALID", `${quote(name)} is not a name for a ${kind}`);
  return name;
}

/** Gives an id that we assigned back when it is one, and so safe in a path or a subject. Fails with NAME_INVALID. */
export function checkId(id: string): string {
  if (!assigned.test(id)) {
    throw new StillpointError("NAME_INVALID", `${quote(id)} is not an id`, { help: "Copy the id from a list." });
  }
  return id;
}

/** Gives a display name back when it has 1 to 99 code points and no control character. Fails with NAME_INVALID. */
export function checkDisplayName(name: string): string {
  const length = Array.from(name).length;
  if (length < 1 || length > 99 || unprintable.test(name)) {
    throw new StillpointError("NAME_INVALID", `${quote(name)} is not a display name`, {
      help: "Use 1 to 99 characters, none of them a control character.",
    });
  }
  return name;
}

/** The name as it may be shown: short, and with control characters escaped. */
export function quote(name: string): string {
  const characters = Array.from(name);
  return JSON.stringify(characters.length > 100 ? `${characters.slice(0, 100).join("")}…` : name);
}
