import type { Readable } from "node:stream";
import type { ContainerSpec, ContainerStats, RestartPolicy, TerminalSize } from "#contracts/container/v1/container";
import type { TransferControl } from "./ports.ts";

/**
 * What runs containers. Docker Engine is one; another is another adapter. It sees only what this host made: containers
 * go by their uid. Every call fails with ENGINE_UNAVAILABLE while the engine does not answer.
 */
export interface ContainerEngine {
  /** Whether it answers, and what it can do. */
  probe(): Promise<EngineFacts>;
  readonly images: EngineImages;
  /** Makes a container; one of that uid that is there already is left alone. @throws StillpointError IMAGE_NOT_FOUND */
  create(recipe: ContainerRecipe): Promise<void>;
  /** Resolves when its process runs; false when it did already. @throws StillpointError COMMAND_NOT_FOUND, PORT_TAKEN */
  start(uid: string): Promise<boolean>;
  /** Sends its stop signal, and SIGKILL when the grace is over; resolves when it has ended. */
  stop(uid: string, graceSeconds: number): Promise<void>;
  /** Signals it as its owner: after SIGKILL or its stop signal no restart policy holds. */
  kill(uid: string, signal: string): Promise<void>;
  /** Ends it, and removes it with its writable layer. One that is gone is no error. */
  remove(uid: string): Promise<void>;
  /** Stops every process of it at one instant. */
  pause(uid: string): Promise<void>;
  unpause(uid: string): Promise<void>;
  /** A container is made with none. */
  setRestart(uid: string, restart: RestartPolicy): Promise<void>;
  find(uid: string): Promise<SeenContainer | undefined>;
  /** uids of all containers that this host made, and how they stand. */
  list(): Promise<Map<string, SeenState>>;
  /** A file as it is in a container, running or not; undefined when there is none. For small files. */
  readFile(uid: string, path: string): Promise<Buffer | undefined>;
  /** What lies at a path in a container, without following a link at its end; undefined when nothing does. */
  look(uid: string, path: string): Promise<PathInContainer | undefined>;
  /** Its writable layer over its image as a new image; gives the image's id. A running container is not paused for it. */
  commit(uid: string, image: { readonly repository: string; readonly tag: string }): Promise<string>;
  /** Writes the memory of a container's processes into a folder that is not there yet; where `canCheckpoint`. */
  saveMemory(uid: string, folder: string): Promise<void>;
  /** Starts a container that was just made from what `saveMemory` wrote, instead of its program. */
  startFromMemory(uid: string, folder: string): Promise<void>;
  /** Runs a command in a running container. */
  exec(uid: string, command: ExecCommand): Promise<ExecSession>;
  logs(uid: string, options: LogOptions): AsyncIterable<LogPiece>;
  /** What it uses now, or each second until the signal or its end. */
  stats(
    uid: string,
    options: { readonly follow: boolean; readonly signal: AbortSignal },
  ): AsyncIterable<ContainerStats>;
  /** What happens to this host's containers, and what has happened since then, as far as the engine remembers. */
  events(span: EventSpan, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>>;
  /** Where a volume's files lie on the host; undefined when there is no such volume. */
  volumePath(volume: string): Promise<string | undefined>;
  /** Makes an empty volume of a container; one that exists is left alone. */
  createVolume(uid: string, volume: string): Promise<void>;
  /** Removes the volumes that were made for a container. */
  removeVolumes(uid: string): Promise<void>;
  /** Makes a network of its own; containers in different networks do not reach each other. */
  createNetwork(name: string): Promise<void>;
  /** Names of the networks that this host made. */
  networks(): Promise<string[]>;
  /** Removes a network; one that is gone or in use is no error. */
  removeNetwork(name: string): Promise<void>;
}

export interface PathInContainer {
  /** Its permissions. */
  readonly mode: number;
  readonly isLink: boolean;
  readonly isFolder: boolean;
}

export interface EngineFacts {
  readonly version: string;
  /** As images name it: "amd64", "arm64". */
  readonly architecture: string;
  /** Where the users of containers begin on the host; undefined when they are the host's own. */
  readonly firstUser: { readonly uid: number; readonly gid: number } | undefined;
  /** Where it keeps images and what containers write. */
  readonly dataFolder: string;
  /** Whether it can write down running processes (CRIU). */
  readonly canCheckpoint: boolean;
}

/** Images by what the engine calls them: `host:port/repository@sha256:...`, `repository:tag` or an id. */
export interface EngineImages {
  find(image: string): Promise<EngineImage | undefined>;
  /** @throws StillpointError IMAGE_NOT_FOUND, IMAGE_ARCHITECTURE, REGISTRY_UNREACHABLE, REGISTRY_LOGIN */
  pull(image: string, login: RegistryLogin | undefined, control: TransferControl): Promise<void>;
  /** Sends a tagged image to the registry that its name begins with, as far as that lacks it. */
  push(image: string, login: RegistryLogin | undefined, control: TransferControl): Promise<PushedByEngine>;
  /** Gives an image another name. */
  tag(image: string, to: { readonly repository: string; readonly tag: string }): Promise<void>;
  /** Removes a name, and the image with its last one. One that is gone or in use is no error. */
  remove(image: string): Promise<void>;
  /** An archive that `load` reads. */
  save(image: string): Promise<Readable>;
  load(archive: Readable): Promise<void>;
}

export interface PushedByEngine {
  /** Of its manifest. */
  readonly digest: string;
  /** The layers that had to be sent, each by the first 12 digits of the digest of what it holds unpacked. */
  readonly sentLayers: ReadonlySet<string>;
}

export interface EngineImage {
  readonly id: string;
  readonly architecture: string;
  readonly sizeBytes: number;
  /** Name or id with or without group; empty for root. */
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  /** Empty: SIGTERM. */
  readonly stopSignal: string;
  readonly hasHealthCheck: boolean;
  /** Paths in the container that are to be volumes. */
  readonly volumes: readonly string[];
}

export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
}

/** All that a container may be: what is not said here, nobody can ask the engine for. */
export interface ContainerRecipe {
  readonly uid: string;
  /** At most 63 letters, digits and dashes. */
  readonly hostname: string;
  /** What the engine calls it. */
  readonly image: string;
  /** Always said, as an engine may treat every signal as the last one otherwise. */
  readonly stopSignal: string;
  /** The part of what was asked for that the engine takes as it is. */
  readonly process: Pick<ContainerSpec, "entrypoint" | "command" | "env" | "workingDir" | "user">;
  readonly mounts: readonly RecipeMount[];
  readonly ports: readonly { readonly hostPort: number; readonly containerPort: number; readonly protocol: string }[];
  /** Null for none but its own loopback. */
  readonly network: string | null;
  readonly cpuMillis: number;
  /** With no swap beyond it. */
  readonly memoryBytes: number;
  readonly pids: number;
  /** Undefined: the image's, where it has one. */
  readonly healthCheck: RecipeHealthCheck | undefined;
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
  readonly readOnlyRoot: boolean;
}

export interface RecipeMount {
  readonly source: { readonly volume: string } | { readonly hostPath: string };
  /** In the container. */
  readonly path: string;
  readonly readOnly: boolean;
}

export interface RecipeHealthCheck {
  readonly command: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly startPeriodMs: number;
  readonly retries: number;
}

export type SeenState = "created" | "running" | "paused" | "restarting" | "exited" | "dead";

/** A container as the engine has it. */
export interface SeenContainer {
  /** What the engine calls this incarnation of it: 64 digits. */
  readonly id: string;
  readonly state: SeenState;
  /** The image that it was made from, as the engine knows it. */
  readonly imageId: string;
  readonly exitCode: number;
  readonly outOfMemory: boolean;
  /** Why it could not be started; empty when it could. */
  readonly error: string;
  readonly startTime: Date | undefined;
  readonly endTime: Date | undefined;
  readonly restarts: number;
  /** Undefined without a health check. */
  readonly health: SeenHealth | undefined;
  /** Of its first process on the host; 0 when it does not run. */
  readonly pid: number;
}

export type SeenHealth = "starting" | "healthy" | "unhealthy";

/** Nanoseconds since 1970; without `until` it has no end. */
export interface EventSpan {
  readonly since: number;
  readonly until?: number;
}

export type EngineEvent = {
  readonly uid: string;
  /** Nanoseconds since 1970 on the engine's clock. */
  readonly time: number;
} & (
  | { readonly kind: "started" | "paused" | "unpaused" | "outOfMemory" | "removed" }
  | { readonly kind: "ended"; readonly exitCode: number }
  | { readonly kind: "health"; readonly health: SeenHealth }
);

export interface LogOptions {
  /** Goes on with what is printed from then on, until the container ends. */
  readonly follow: boolean;
  /** Lines from the end; undefined for all. */
  readonly tail: number | undefined;
  /** Nanoseconds since 1970; undefined for all. */
  readonly since: bigint | undefined;
  readonly signal: AbortSignal;
}

/** A line, or a part of one, with the time when it was printed. */
export interface LogPiece {
  readonly stream: "stdout" | "stderr";
  readonly bytes: Buffer;
  /** RFC 3339 with nanoseconds. */
  readonly time: string;
}

export interface ExecCommand {
  /** Program and arguments. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDir: string;
  /** Its size when it gets a terminal; then all output is stdout. */
  readonly terminal: TerminalSize | undefined;
  /** Whether its standard input stays open until `closeInput`; closed from the start otherwise. */
  readonly input: boolean;
}

/** A command that runs in a container. Who began it ends it, or waits for `output` to end. */
export interface ExecSession {
  /** What it prints, until it ends. */
  readonly output: AsyncIterable<Omit<LogPiece, "time">>;
  /** Resolves when more may be written. */
  write(bytes: Uint8Array): Promise<void>;
  closeInput(): void;
  resize(size: TerminalSize): Promise<void>;
  /** Once the output has ended: 128 and the signal's number when a signal ended it. */
  exitCode(): Promise<number>;
  /** Ends its process, where the engine runs on this host, and lets go of it. */
  end(): Promise<void>;
}
