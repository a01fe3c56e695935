export { address, addresses, commonConfig, readConfig, registryLoginConfig, secretsKeyConfig } from "./config.ts";
export { registryLogin } from "./registry-login.ts";
