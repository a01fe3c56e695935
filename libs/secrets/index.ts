export { readKeyFile } from "./key-file.ts";
export { SecretKeys } from "./secret-keys.ts";
