import { StillpointError } from "#libs/errors";
import { type Digest, isDigest } from "./digest.ts";

/** An image's name inside one registry: `repository[:tag][@digest]`. With both, the digest decides. */
export interface Reference {
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const MAX_REPOSITORY_LENGTH = 255;

/** distribution-spec 1.1, "Pulling manifests": the form of `<name>`. */
export function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && repositoryPattern.test(text);
}

/** distribution-spec 1.1: the form of a tag. */
export function isTag(text: string): boolean {
  return /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/.test(text);
}

/**
 * Reads `repository[:tag][@digest]`; without tag and digest the tag is `latest`.
 * @throws StillpointError NAME_INVALID
 */
export function parseReference(text: string): Reference {
  const [, repository = "", tag, digest] = /^([^:@]+)(?::([^:@]+))?(?:@(.+))?$/.exec(text) ?? [];
  const isValid =
    isRepository(repository) && (tag === undefined || isTag(tag)) && (digest === undefined || isDigest(digest));
  if (!isValid) {
    throw new StillpointError("NAME_INVALID", `"${text}" is not an image reference`, {
      help: "Write it as repository:tag or repository@sha256:<hex>, in lower case, without a registry's address.",
    });
  }
  if (digest !== undefined) return { repository, ...(tag !== undefined && { tag }), digest };
  return { repository, tag: tag ?? "latest" };
}

/** The text that `parseReference` reads. */
export function referenceText({ repository, tag, digest }: Reference): string {
  return `${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
