export { address, commonConfig, readConfig, registryLoginConfig } from "./config.ts";
export { registryLogin } from "./registry-login.ts";
