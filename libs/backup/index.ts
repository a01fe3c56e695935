export { BackupCounts, formatName } from "./backup-check.ts";
export { readBackup, type VerifiedBackup, verifyBackup, writeBackup } from "./backup-file.ts";
