import { type Reason, StillpointError } from "#libs/errors";

const CONNECTION = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "EPIPE", "EACCES", "ENOTFOUND", "ETIMEDOUT"]);

/** What Docker Engine says in words only; the first that fits tells the reason. */
const WORDS: readonly (readonly [RegExp, Reason])[] = [
  [/port is already allocated|address already in use|failed to bind (host )?port/i, "PORT_TAKEN"],
  [
    /exec format error|no matching manifest|does not match the (specified|detected) (host )?platform/i,
    "IMAGE_ARCHITECTURE",
  ],
  [
    /executable file not found|starting container process.*(no such file|not a directory|permission denied)/i,
    "COMMAND_NOT_FOUND",
  ],
  [/no such image|manifest unknown|name unknown|manifest for .* not found|not found: manifest/i, "IMAGE_NOT_FOUND"],
  [/unauthorized|denied: |access.*denied|no basic auth|authentication required/i, "REGISTRY_LOGIN"],
  [/no space left on device/i, "SPACE_INSUFFICIENT"],
  [/dial tcp|connection refused|no such host|i\/o timeout|TLS handshake|server gave HTTP/i, "REGISTRY_UNREACHABLE"],
  [/is not running|is not paused|is already paused|is paused|is restarting|No such container/i, "CONTAINER_STATE"],
];

/** Asks the engine; what goes wrong is told in our words. @param what it is about, for the message */
export async function askEngine<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw engineError(what, error);
  }
}

/** The same, but undefined for an answer of one of these HTTP statuses. */
export async function askUnless<T>(
  statuses: readonly number[],
  what: string,
  ask: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (statuses.includes(statusOf(error))) return undefined;
    throw engineError(what, error);
  }
}

/** @param error of the Docker client, or of a message in a stream of progress */
export function engineError(what: string, error: unknown): unknown {
  if (error instanceof StillpointError || (error instanceof Error && error.name === "AbortError")) return error;
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  if (typeof code === "string" && (CONNECTION.has(code) || code.startsWith("HPE_"))) {
    return new StillpointError("ENGINE_UNAVAILABLE", `${what}: the container engine does not answer`, { cause: error });
  }
  const said = plainWords(String(message));
  return new StillpointError(reasonOf(statusOf(error), said), `${what}: ${said}`, { cause: error });
}

export function statusOf(error: unknown): number {
  return typeof error === "object" && error !== null && "statusCode" in error ? Number(error.statusCode) : 0;
}

function reasonOf(status: number, said: string): Reason {
  const known = WORDS.find(([words]) => words.test(said));
  if (known !== undefined) return known[1];
  return status === 400 ? "ARGUMENT_INVALID" : "ENGINE_FAILED";
}

/** Without the names of the layers that a message came through. */
function plainWords(message: string): string {
  return message
    .replace(/^\(HTTP code \d+\) [^-]* - /, "")
    .replace(/(failed to create (shim )?task(: )?|OCI runtime \w+ failed: |runc \w+ failed: |: unknown$)/g, "")
    .replace(/^unable to start container process: /, "")
    .trim();
}
