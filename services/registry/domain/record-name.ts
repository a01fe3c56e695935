/**
 * The name of a repository's record: below the project of its first component, or in no project when it has only one.
 * Ids of records have no `/` and no `.`: they are written as `X2F` and `X2E`, as no repository has capitals.
 */
export function recordNameOf(repository: string): string {
  const [first = "", ...rest] = repository.split("/");
  if (rest.length === 0) return `repositories/${encode(first)}`;
  return `projects/${encode(first)}/repositories/${encode(rest.join("/"))}`;
}

function encode(text: string): string {
  return text.replaceAll("/", "X2F").replaceAll(".", "X2E");
}
