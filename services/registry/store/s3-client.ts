import { HeadBucketCommand, S3Client, S3ServiceException } from "@aws-sdk/client-s3";
import { StillpointError } from "#libs/errors";
import { OciError } from "../domain/oci-error.ts";

export interface S3Settings {
  readonly bucket: string;
  readonly region: string;
  /** Of a store that is not AWS. */
  readonly endpoint?: string | undefined;
  /** How long one request may take until its answer begins; three are tried. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 20_000;
const ATTEMPTS = 3;
/** More would not be quicker, and each takes memory. */
const CONNECTIONS = 64;

/** Credentials are those that the AWS SDK finds by itself. */
export function createS3Client({ region, endpoint, timeoutMs = TIMEOUT_MS }: S3Settings): S3Client {
  return new S3Client({
    region,
    ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
    maxAttempts: ATTEMPTS,
    // With it the SDK opens a connection for each large body. Ceph answers "continue" before it looks at quotas, then
    // refuses and closes that connection while the body comes, so that the refusal is often lost.
    expectContinueHeader: false,
    requestHandler: {
      // It counts from when a request waits for one of the connections, which is no failure while all are busy.
      connectionTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: timeoutMs,
      httpAgent: { keepAlive: true, maxSockets: CONNECTIONS },
      httpsAgent: { keepAlive: true, maxSockets: CONNECTIONS },
    },
    // What is not AWS often refuses the newer checksums; content has its digest anyway.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
}

/** @throws StillpointError UNAVAILABLE when the bucket cannot be used */
export async function checkBucket(client: S3Client, bucket: string): Promise<void> {
  try {
    await client.send(new HeadBucketCommand({ Bucket: bucket }));
  } catch (cause) {
    const help = "Check REGISTRY_S3_ENDPOINT, REGISTRY_S3_BUCKET, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";
    throw new StillpointError("UNAVAILABLE", `the registry cannot use its bucket ${bucket}`, { cause, help });
  }
}

/** What the store answers; its failures as clients of the registry are told them. */
export async function answered<Answer>(request: Promise<Answer>): Promise<Answer> {
  try {
    return await request;
  } catch (error) {
    throw asRefusal(error);
  }
}

/** The same for what comes page by page. */
export async function* refusing<Page>(pages: AsyncIterable<Page>): AsyncGenerator<Page> {
  try {
    yield* pages;
  } catch (error) {
    throw asRefusal(error);
  }
}

/** The same where an object may be missing. */
export async function answeredIfPresent<Answer>(request: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await request;
  } catch (error) {
    if (
      error instanceof S3ServiceException &&
      error.$metadata.httpStatusCode === 404 &&
      error.name !== "NoSuchBucket"
    ) {
      return undefined;
    }
    throw asRefusal(error);
  }
}

/** Whether a store that speaks only a part of S3 lacks this. */
export function isNotImplemented(error: unknown): boolean {
  const cause = error instanceof OciError ? error.cause : error;
  return cause instanceof S3ServiceException && cause.$metadata.httpStatusCode === 501;
}

/** Of Ceph, MinIO and others. S3 itself is never full. */
const FULL = new Set([
  "QuotaExceeded",
  "XMinioAdminBucketQuotaExceeded",
  "XMinioStorageFull",
  "InsufficientStorage",
  "InsufficientCapacity",
]);

function asRefusal(cause: unknown): Error {
  if (cause instanceof S3ServiceException && (FULL.has(cause.name) || cause.$metadata.httpStatusCode === 507)) {
    return new OciError("UNAVAILABLE", "the registry has no space left", { status: 507, cause });
  }
  return new OciError("UNAVAILABLE", "the registry's object store does not answer as it should: try again", { cause });
}
