import { type Reason, StillpointError } from "#libs/errors";

const CONNECTION = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "EPIPE", "EACCES", "ENOTFOUND", "ETIMEDOUT"]);

/** What Docker Engine says in words only, the reason that it means, and where its words say too much, better ones. */
type Words = readonly [said: RegExp, reason: Reason, better?: (...found: string[]) => string];

/** The first that fits counts. */
const WORDS: readonly Words[] = [
  [
    /(?:listen \w+|Bind for) (\S+:\d+)[: ].*already/i,
    "PORT_TAKEN",
    (_, port) => `${port} of the host is in use already`,
  ],
  [/port is already allocated|address already in use|failed to bind (host )?port/i, "PORT_TAKEN"],
  [/unable to find (user|group) ([^:]+):/, "ARGUMENT_INVALID", (_, kind, name) => `its image has no ${kind} ${name}`],
  [/no command specified/i, "COMMAND_NOT_FOUND", () => "its image names no program, and neither does its command"],
  [/Cannot mkdir: (\S+) is not a directory/, "ARGUMENT_INVALID", (_, path) => `${path} is a file in its image`],
  [
    /chdir to cwd \("([^"]*)"\).*: ([^:]+)/,
    "ARGUMENT_INVALID",
    (_, path, why) => `its working directory ${path}: ${why}`,
  ],
  [
    /source \S+?(?:\/merged(\/\S*))? is not (?:a )?directory/,
    "ARGUMENT_INVALID",
    (_, path = "the path of a volume") => `${path} is a file in its image, and a volume is a folder`,
  ],
  [
    /exec format error|no matching manifest|does not match the (specified|detected) (host )?platform/i,
    "IMAGE_ARCHITECTURE",
  ],
  [
    /exec: "([^"]*)": .*?(executable file not found|no such file|not a directory|is a directory|permission denied)/i,
    "COMMAND_NOT_FOUND",
    (_, program, why) => `${program} cannot be run: ${why}`,
  ],
  [/executable file not found|starting container process.*(no such file|permission denied)/i, "COMMAND_NOT_FOUND"],
  [/no such image|manifest unknown|name unknown|manifest for .* not found|not found: manifest/i, "IMAGE_NOT_FOUND"],
  [/verification failed|invalid (checksum|tar header)|layer .*does not match/i, "IMAGE_CORRUPT"],
  [/unauthorized|denied: |access.*denied|no basic auth|authentication required/i, "REGISTRY_LOGIN"],
  [/no space left on device/i, "SPACE_INSUFFICIENT"],
  [
    /dial tcp|connection refused|": EOF$|unexpected EOF|connection reset|no such host|i\/o timeout|TLS handshake|server gave HTTP/i,
    "REGISTRY_UNREACHABLE",
  ],
  [/is not running|is not paused|is already paused|is paused|is restarting|No such container/i, "CONTAINER_STATE"],
];

/**
 * How long the engine may take to answer: under load it needs seconds for what is done in milliseconds otherwise. What
 * ends, or copies, may have much to do.
 */
const ANSWER_MS = 60_000;
export const END_MS = 5 * 60_000;
export const COPY_MS = 60 * 60_000;

/**
 * Asks the engine; what goes wrong is told in our words, also that it does not answer in time: then nobody knows what
 * became of it. @param what it is about, for the message
 */
export async function askEngine<T>(what: string, ask: () => Promise<T>, withinMs = ANSWER_MS): Promise<T> {
  try {
    return await inTime(ask(), withinMs);
  } catch (error) {
    throw engineError(what, error);
  }
}

/** The same, but undefined for an answer of one of these HTTP statuses. */
export async function askUnless<T>(
  statuses: readonly number[],
  what: string,
  ask: () => Promise<T>,
  withinMs = ANSWER_MS,
): Promise<T | undefined> {
  try {
    return await inTime(ask(), withinMs);
  } catch (error) {
    if (statuses.includes(statusOf(error))) return undefined;
    throw engineError(what, error);
  }
}

class NoAnswer extends Error {}

/** Fails with NoAnswer when it takes longer; it is left to itself then. */
export async function inTime<T>(answer: Promise<T>, withinMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new NoAnswer(`has not answered in ${withinMs / 1_000} s`)), withinMs);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param error of the Docker client, or of a message in a stream of progress */
export function engineError(what: string, error: unknown): unknown {
  if (error instanceof StillpointError || (error instanceof Error && error.name === "AbortError")) return error;
  if (error instanceof NoAnswer) {
    return new StillpointError("ENGINE_UNAVAILABLE", `${what}: the container engine ${error.message}`);
  }
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  if (typeof code === "string" && (CONNECTION.has(code) || code.startsWith("HPE_"))) {
    return new StillpointError("ENGINE_UNAVAILABLE", `${what}: the container engine does not answer`, { cause: error });
  }
  const said = plainWords(String(message));
  const otherwise = statusOf(error) === 400 ? "ARGUMENT_INVALID" : "ENGINE_FAILED";
  const { reason, words } = inOurWords(said) ?? { reason: otherwise, words: said };
  return new StillpointError(reason, `${what}: ${words}`, { cause: error });
}

function inOurWords(said: string): { readonly reason: Reason; readonly words: string } | undefined {
  for (const [pattern, reason, better] of WORDS) {
    const found = pattern.exec(said);
    if (found !== null) return { reason, words: better?.(...found) ?? said };
  }
  return undefined;
}

export function statusOf(error: unknown): number {
  return typeof error === "object" && error !== null && "statusCode" in error ? Number(error.statusCode) : 0;
}

/** Without the names of the layers that a message came through. */
function plainWords(message: string): string {
  return message
    .replace(/^\(HTTP code \d+\) [^-]* - /, "")
    .replace(/(failed to create (shim )?task(: )?|OCI runtime \w+ failed: |runc \w+ failed: |: unknown$)/g, "")
    .replace(/^unable to start container process: /, "")
    .trim();
}
