import type { ServiceImplementation } from "nice-grpc";
import type { CompatServiceDefinition } from "nice-grpc/lib/service-definitions/index.js";
import type { Principal } from "#libs/auth";
import type { Logger } from "#libs/logger";
import { reportHealth } from "#libs/telemetry";
import { ownIdentity, type TlsIdentity } from "#libs/tls";
import { bindUnix, type UnixSocket } from "./bind-unix.ts";
import type { CallScope } from "./call-scope.ts";
import { anyoneCredentials, serverCredentials } from "./credentials.ts";
import { addHealth } from "./health.ts";
import { addReflection } from "./reflection.ts";
import { createScopedServer, type ScopedServer } from "./scoped-server.ts";

export interface RpcServerOptions {
  readonly logger: Logger;
  /** False while a server that this one needs is away; asked at each health check. */
  readonly health?: () => boolean;
  /** As whom it answers; the process's own identity when left out. Without one there is no TLS. */
  readonly tls?: TlsIdentity;
  /** Who may call at all, beside the rights that each method asks for; everybody when left out. */
  readonly admits?: (principal: Principal) => boolean;
  /**
   * Under TLS callers need no certificate, and are nobody: for services that ask for something else. It shows the
   * authority's certificate beside its own, for callers that do not have it yet.
   */
  readonly anyone?: boolean;
}

const gracefulMs = 3_000;

/** A gRPC server with health and reflection, whose handlers are plain async functions and generators. */
export class RpcServer {
  readonly #closing = new AbortController();
  readonly #health: () => boolean;
  readonly #logger: Logger;
  readonly #admits: (principal: Principal) => boolean;
  readonly #tls: TlsIdentity | undefined;
  readonly #anyone: boolean;
  readonly #services: { name: string; addTo: (server: ScopedServer) => void }[] = [];
  #server: ScopedServer | undefined;
  #socket: UnixSocket | undefined;
  #stopHealth: (() => void) | undefined;
  #forgetHealth: (() => void) | undefined;

  constructor({
    logger,
    health = () => true,
    tls = ownIdentity(),
    admits = () => true,
    anyone = false,
  }: RpcServerOptions) {
    this.#logger = logger;
    this.#admits = admits;
    this.#tls = tls;
    this.#anyone = anyone;
    this.#health = health;
  }

  /** Adds a service; before listen(). */
  add<Definition extends CompatServiceDefinition & { readonly fullName: string }>(
    definition: Definition,
    implementation: ServiceImplementation<Definition, CallScope>,
  ): this {
    if (this.#server !== undefined) throw new Error(`${definition.fullName} was added after listen()`);
    this.#services.push({
      name: definition.fullName,
      addTo: (server) => server.add(definition, implementation),
    });
    return this;
  }

  /**
   * Listens on `<host>:<port>` (0: any free one) or `unix:/path` (a socket of mode 0600; a dead one that lies there is
   * replaced) and gives the address with its port. Ports have mutual TLS when there is an identity; without one it
   * refuses an address that is not loopback.
   */
  async listen(address: string): Promise<string> {
    const isUnix = address.startsWith("unix:");
    const tls = isUnix ? undefined : this.#tls;
    if (!isUnix && tls === undefined) refuseRemote(address);
    const server = await createScopedServer(isUnix, {
      logger: this.#logger,
      closing: this.#closing.signal,
      isSecure: tls !== undefined,
      admits: this.#admits,
      anyone: this.#anyone,
    });
    for (const { addTo } of this.#services) addTo(server);
    this.#stopHealth = await addHealth(server, this.#health);
    await addReflection(
      server,
      this.#logger,
      this.#services.map(({ name }) => name),
    );
    this.#server = server;
    this.#forgetHealth = reportHealth(this.#health);
    if (isUnix) {
      this.#socket = await bindUnix(address.slice("unix:".length), (path) => server.listen(`unix:${path}`));
      return address;
    }
    const port = await server.listen(address, tls && (this.#anyone ? anyoneCredentials(tls) : serverCredentials(tls)));
    return address.replace(/\d+$/, `${port}`);
  }

  /** Takes no new calls, ends streams, lets unary calls finish for 3 s, then cuts them off. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#stopHealth?.();
    this.#forgetHealth?.();
    this.#closing.abort(new DOMException("the server is closing", "AbortError"));
    const cut = setTimeout(() => server.forceShutdown(), gracefulMs);
    try {
      await server.shutdown();
    } finally {
      clearTimeout(cut);
      await this.#socket?.remove();
    }
  }
}

function refuseRemote(address: string): void {
  if (/^(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+$/.test(address)) return;
  throw new Error(
    `refusing to listen on ${address} without TLS: set TLS_CA, TLS_CERT and TLS_KEY, or use 127.0.0.1:<port> or unix:/path`,
  );
}
