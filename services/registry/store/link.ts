/** That a repository has a blob or a manifest, in one small object. */
export interface Link {
  readonly sizeBytes: number;
  /** Of manifests. */
  readonly mediaType?: string;
}

export function encodeLink(link: Link): string {
  return JSON.stringify(link);
}

export function decodeLink(bytes: Buffer): Link {
  return JSON.parse(bytes.toString());
}
