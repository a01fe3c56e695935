export type { CallContext } from "nice-grpc-common";
export type { CallScope } from "./call-scope.ts";
export {
  closeRpcClients,
  createRpcClient,
  type RpcCallOptions,
  type RpcClient,
  type RpcClientOptions,
} from "./client.ts";
export { RpcServer, type RpcServerOptions } from "./server.ts";
