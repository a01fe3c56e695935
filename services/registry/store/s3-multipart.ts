import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type MultipartUpload,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { answered, isNotImplemented } from "./s3-client.ts";

export interface Bucket {
  readonly client: S3Client;
  readonly bucket: string;
}

/** A part of another object. */
export interface SourceRange {
  readonly key: string;
  readonly offset: number;
  readonly length: number;
}

const COPIES_AT_ONCE = 4;

/** An object in the making, of parts that S3 puts together at the end; until then nothing is visible. */
export class S3Multipart {
  readonly #deps: Bucket;
  readonly #key: string;
  readonly #uploadId: string;
  readonly #parts: CompletedPart[] = [];

  private constructor(deps: Bucket, key: string, uploadId: string) {
    this.#deps = deps;
    this.#key = key;
    this.#uploadId = uploadId;
  }

  static async begin(deps: Bucket, key: string): Promise<S3Multipart> {
    const { client, bucket } = deps;
    const { UploadId } = await answered(client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key })));
    return new S3Multipart(deps, key, UploadId ?? "");
  }

  /** Parts are numbered as they come; all but the last have 5 MiB at least. */
  async send(bytes: Buffer): Promise<void> {
    const PartNumber = this.#parts.length + 1;
    const command = new UploadPartCommand({ ...this.#names, PartNumber, Body: bytes, ContentLength: bytes.length });
    const { ETag } = await answered(this.#deps.client.send(command));
    this.#parts.push({ PartNumber, ETag });
  }

  /** Has parts of other objects copied, without their bytes coming here. */
  async copy(sources: readonly SourceRange[]): Promise<void> {
    const first = this.#parts.length + 1;
    const waiting = [...sources.entries()];
    const work = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        this.#parts.push(await this.#copyPart(first + next[0], next[1]));
      }
    };
    await Promise.all(Array.from({ length: COPIES_AT_ONCE }, work));
    this.#parts.sort((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
  }

  async complete(): Promise<void> {
    const MultipartUpload = { Parts: this.#parts };
    await answered(this.#deps.client.send(new CompleteMultipartUploadCommand({ ...this.#names, MultipartUpload })));
  }

  /** Never fails: the sweep finds what is left. */
  async abort(): Promise<void> {
    await this.#deps.client.send(new AbortMultipartUploadCommand(this.#names)).catch(() => {});
  }

  get #names() {
    return { Bucket: this.#deps.bucket, Key: this.#key, UploadId: this.#uploadId };
  }

  async #copyPart(PartNumber: number, { key, offset, length }: SourceRange): Promise<CompletedPart> {
    const source = {
      CopySource: copySource(this.#deps.bucket, key),
      CopySourceRange: `bytes=${offset}-${offset + length - 1}`,
    };
    const command = new UploadPartCopyCommand({ ...this.#names, PartNumber, ...source });
    const { CopyPartResult } = await answered(this.#deps.client.send(command));
    return { PartNumber, ETag: CopyPartResult?.ETag };
  }
}

export function copySource(bucket: string, key: string): string {
  return `${bucket}/${key.split("/").map(encodeURIComponent).join("/")}`;
}

/**
 * Aborts the uploads below a prefix that were begun before then. A store that cannot list them is left alone: it has to
 * have a rule of its own.
 */
export async function abortOrphans(deps: Bucket, prefix: string, before: Date): Promise<void> {
  try {
    for await (const { Key, UploadId, Initiated } of unfinished(deps, prefix)) {
      if (Initiated === undefined || Initiated >= before) continue;
      await answered(deps.client.send(new AbortMultipartUploadCommand({ Bucket: deps.bucket, Key, UploadId })));
    }
  } catch (error) {
    if (!isNotImplemented(error)) throw error;
  }
}

async function* unfinished({ client, bucket }: Bucket, prefix: string): AsyncGenerator<MultipartUpload> {
  let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {};
  while (marker !== undefined) {
    const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand({
      Bucket: bucket,
      Prefix: prefix,
      ...marker,
    });
    const page = await answered(client.send(command));
    yield* page.Uploads ?? [];
    const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
    marker = page.IsTruncated === true ? { KeyMarker, UploadIdMarker } : undefined;
  }
}
