import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/**
 * Packages of the system, unpacked into a folder and not installed: installing systemd-resolved would replace this machine's own /etc/resolv.conf. Needs
 * apt, its lists, and a mirror; rejects with what apt says.
 */
export class SystemPackages implements Disposable {
  readonly folder: string;
  /** A folder with what `command` made. */
  readonly path: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.path = join(folder, 'commands');
    mkdirSync(this.path);
  }

  static async download(...names: readonly string[]): Promise<SystemPackages> {
    const packages = new SystemPackages(mkdtempSync(join(tmpdir(), 'kp-packages-')));
    const archives = join(packages.folder, 'archives');
    mkdirSync(join(archives, 'partial'), { recursive: true });
    try {
      const folders = ['-o', `Dir::Cache::archives=${archives}`, '-o', 'Debug::NoLocking=1', '-o', 'APT::Sandbox::User=root'];
      // With what they depend on and this machine lacks; nothing is installed.
      const words = ['install', '--download-only', '--reinstall', '--yes', '-qq', '--no-install-recommends', ...folders, ...names];
      await execute('apt-get', words, { env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' } });
      for (const archive of readdirSync(archives).filter((name) => name.endsWith('.deb'))) {
        await execute('dpkg-deb', ['-x', join(archives, archive), packages.folder]);
      }
      return packages;
    } catch (error) {
      packages[Symbol.dispose]();
      throw new Error(`apt-get could not download ${names.join(', ')} (is "apt-get update" needed?)`, { cause: error });
    }
  }

  /** The path of a file in the packages, whether below /usr or not; else the machine's own, of a package that is installed already. */
  file(path: string): string {
    const candidates = [this.folder, '/'].flatMap((root) => [join(root, path), join(root, 'usr', path)]);
    const found = candidates.find((candidate) => existsSync(candidate));
    if (found === undefined) throw new Error(`neither the packages nor this machine have ${path}`);
    return found;
  }

  /** Where their libraries are, as LD_LIBRARY_PATH. */
  get libraries(): string {
    const roots = [join(this.folder, 'usr/lib'), join(this.folder, 'lib')].filter((root) => existsSync(root));
    const multiarch = roots
      .flatMap((root) => readdirSync(root).map((name) => join(root, name)))
      .filter((path) => path.endsWith('-linux-gnu'));
    return multiarch.flatMap((path) => [path, join(path, 'systemd')]).join(':');
  }

  /** Makes a program of theirs one that runs as if it were installed. */
  command(path: string): string {
    const target = this.file(path);
    const script = join(this.path, path.split('/').at(-1) ?? path);
    writeFileSync(script, `#!/bin/sh\nLD_LIBRARY_PATH='${this.libraries}' exec '${target}' "$@"\n`);
    chmodSync(script, 0o755);
    return script;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A system bus that lets everybody do everything: there is only the test. */
export const busConfiguration = `<busconfig>
  <type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
    <allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
`;
