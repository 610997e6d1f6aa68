import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { TesseraeError } from '../errors';
import { system as nativeSystem, type SystemInfo } from '../native';
import { colorsFor } from '../report/colors';
import { safeText } from '../report/safe_text';
import { formatBytes, formatSeconds } from '../report/format';
import type { Finding } from './finding';
import { jsonOption, type Done } from './options';
import type { SelfTestResult } from './self_test';
import { print, printJson } from './terminal';

export const doctorCommand = (done: Done): Command =>
  new Command('doctor')
    .summary('check what works on this machine, and say how to fix the rest')
    .description(
      'Checks Node.js, the system, the addon, the NVIDIA driver, GPUs and libraries, and trains a tiny model on each ' +
        'device in a separate process. For each problem it prints one cause and one command.',
    )
    .addOption(jsonOption('findings as JSON lines'))
    .addHelpText(
      'after',
      `
Example:
  $ tesserae doctor`,
    )
    .action(async ({ json }: { json?: true }) => done(await doctor({ json: json ?? false })));

/** What the doctor checks; tests pass their own. */
export interface Machine {
  readonly node: string;
  readonly platform: string;
  /** Version of glibc; undefined with another C library. */
  readonly glibc: string | undefined;
  readonly processor: string;
  readonly memory: number;
  /** Rejects if the addon can't be loaded. */
  system(): Promise<SystemInfo>;
  /** Whether the machine has an NVIDIA GPU on its bus, whatever its driver says. */
  hasNvidiaHardware(): boolean;
  /** Trains a tiny model in a separate process; rejects with its error. */
  selfTest(device: string): Promise<SelfTestResult>;
}

const LEAST_NODE = [20, 19] as const;
const LEAST_GLIBC = [2, 34] as const;
/** CUDA that the driver must serve: drivers of the 580 series do. */
const LEAST_DRIVER = 13_000;
/** A self-test takes a second, and longer if the first use of a GPU is slow. */
const SELF_TEST_MILLISECONDS = 60_000;

/** Checks everything, dependencies first; yields each finding as it is made. */
export async function* examine(machine: Machine): AsyncGenerator<Finding, void, void> {
  yield node(machine.node);
  yield platform(machine);
  yield {
    status: 'ok',
    subject: 'processor',
    text: `${machine.processor}, ${formatBytes(machine.memory)} of memory`,
  };
  let info: SystemInfo;
  try {
    info = await machine.system();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    yield {
      status: 'problem',
      subject: 'addon',
      text,
      command: 'npm install tesserae (in a clone: ./setup.sh)',
    };
    return;
  }
  yield {
    status: 'ok',
    subject: 'addon',
    text: `loaded, ${info.cuda ? 'with' : 'without'} CUDA; oneDNN ${info.oneDnn}`,
  };
  yield* gpus(machine, info);
  const usable = info.gpus.filter(({ supported }) => supported);
  for (const device of ['cpu', ...usable.map(({ index }) => `cuda:${index}`)])
    yield await tested(machine, device);
}

function node(version: string): Finding {
  if (atLeast(version, LEAST_NODE)) return { status: 'ok', subject: 'Node.js', text: version };
  return {
    status: 'problem',
    subject: 'Node.js',
    text: `${version} is too old: tesserae needs ${LEAST_NODE.join('.')} or newer`,
    command: 'nvm install --lts',
  };
}

function platform({ platform: name, glibc }: Machine): Finding {
  const subject = 'system';
  if (name === 'linux-x64' && glibc !== undefined && atLeast(glibc, LEAST_GLIBC))
    return { status: 'ok', subject, text: `${name}, glibc ${glibc}` };
  const what = name === 'linux-x64' ? (glibc === undefined ? 'no glibc (musl?)' : `glibc ${glibc}`) : name;
  return {
    status: 'problem',
    subject,
    text: `${what} is not supported: tesserae needs Linux x64 with glibc ${LEAST_GLIBC.join('.')} or newer`,
    command: 'docker run -it node:lts-bookworm',
  };
}

function* gpus(machine: Machine, info: SystemInfo): Generator<Finding, void, void> {
  const subject = 'GPU';
  const driver = info.driver ?? 0;
  if (info.gpus.length === 0 && !machine.hasNvidiaHardware()) {
    yield { status: 'note', subject, text: 'no NVIDIA GPU found: models run on the CPU' };
    return;
  }
  if (!info.cuda) {
    yield {
      status: 'problem',
      subject,
      text: 'found an NVIDIA GPU, but this build of the addon has no CUDA',
      command: 'TESSERAE_CUDA=1 npm run build:native (in a clone)',
    };
    return;
  }
  if (driver === 0) {
    yield {
      status: 'problem',
      subject,
      text: 'found an NVIDIA GPU, but this process sees no driver',
      command: 'sudo apt-get install nvidia-driver-580 (in a container: docker run --gpus all …)',
    };
    return;
  }
  if (driver < LEAST_DRIVER) {
    yield {
      status: 'problem',
      subject: 'driver',
      text: `supports CUDA ${cudaVersion(driver)}, but tesserae needs CUDA ${cudaVersion(LEAST_DRIVER)}: install driver 580 or newer`,
      command: 'sudo apt-get install nvidia-driver-580',
    };
    return;
  }
  yield { status: 'ok', subject: 'driver', text: `supports CUDA ${cudaVersion(driver)}` };
  if (info.gpus.length === 0) {
    yield {
      status: 'problem',
      subject,
      text: `the driver lists no GPU: ${info.problem ?? 'CUDA_VISIBLE_DEVICES may hide it'}`,
      command: 'nvidia-smi',
    };
    return;
  }
  for (const { index, name, capability, memory, supported } of info.gpus)
    yield {
      status: supported ? 'ok' : 'note',
      subject: `cuda:${index}`,
      text:
        `${name}, compute capability ${capability}, ${formatBytes(memory)}` +
        (supported ? '' : ': not used, because it needs 8.0 (sm_80) or higher'),
    };
  yield* libraries(info);
}

function* libraries({
  libraries: { cublasLt, nccl },
  gpus: all,
}: SystemInfo): Generator<Finding, void, void> {
  if (cublasLt === undefined)
    yield {
      status: 'note',
      subject: 'cuBLASLt',
      text: "not found: tesserae's own matrix kernels are used, which are slower",
      command: 'sudo apt-get install libcublas-13-0',
    };
  else yield { status: 'ok', subject: 'cuBLASLt', text: libraryVersion(cublasLt) };
  if (nccl !== undefined) yield { status: 'ok', subject: 'NCCL', text: libraryVersion(nccl) };
  else if (all.length > 1)
    yield {
      status: 'note',
      subject: 'NCCL',
      text: 'not found: training one model on several GPUs needs it',
      command: 'sudo apt-get install libnccl2',
    };
}

async function tested(machine: Machine, device: string): Promise<Finding> {
  const subject = `test ${device}`;
  try {
    const { precision, isa, steps, firstLoss, lastLoss, seconds } = await machine.selfTest(device);
    const losses = `loss ${firstLoss.toFixed(2)} → ${lastLoss.toFixed(2)}`;
    const arithmetic = device === 'cpu' ? `${precision}, ${isa}` : precision;
    if (lastLoss < firstLoss)
      return {
        status: 'ok',
        subject,
        text: `${steps} steps in ${formatSeconds(seconds)} (${arithmetic}), ${losses}`,
      };
    return {
      status: 'problem',
      subject,
      text: `a tiny model does not learn (${arithmetic}, ${losses}): the arithmetic is wrong there`,
      command: device === 'cpu' ? 'npm install --force tesserae' : 'nvidia-smi -q -d ECC,PAGE_RETIREMENT',
    };
  } catch (error) {
    return {
      status: 'problem',
      subject,
      text: error instanceof Error ? error.message : String(error),
      command: device === 'cpu' ? 'npm install --force tesserae' : 'nvidia-smi',
    };
  }
}

/** `tesserae doctor`: checks what works on this machine and says how to fix the rest. Returns the exit code. */
export async function doctor({ json }: { json: boolean }, machine: Machine = thisMachine()): Promise<number> {
  let problems = 0;
  for await (const finding of examine(machine)) {
    if (finding.status === 'problem') problems++;
    if (json) printJson(finding);
    else print(lineOf(finding));
  }
  if (!json)
    print(
      problems === 0
        ? '\nEverything works.\n'
        : `\n${problems} ${problems === 1 ? 'problem' : 'problems'}.\n`,
    );
  return problems === 0 ? 0 : 1;
}

function lineOf({ status, subject, text, command }: Finding): string {
  const { bold, green, red, yellow } = colorsFor(process.stdout);
  const mark = {
    ok: green('ok'.padEnd(8)),
    note: yellow('note'.padEnd(8)),
    problem: red('problem'.padEnd(8)),
  };
  const remedy = command === undefined ? '' : `${' '.repeat(22)}${bold(safeText(command))}\n`;
  return `${mark[status]} ${safeText(`${subject.padEnd(12)} ${text}`)}\n${remedy}`;
}

function thisMachine(): Machine {
  const processors = os.cpus();
  return {
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    glibc: glibcVersion(),
    processor: `${processors[0]?.model.trim() ?? 'unknown'}, ${os.availableParallelism()} threads`,
    memory: os.totalmem(),
    system: nativeSystem,
    hasNvidiaHardware,
    selfTest: runSelfTest,
  };
}

function glibcVersion(): string | undefined {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime;
}

/** Display and 3D controllers of NVIDIA on the PCI bus. */
function hasNvidiaHardware(): boolean {
  const bus = '/sys/bus/pci/devices';
  const value = (device: string, file: string): string =>
    readFileSync(path.join(bus, device, file), 'utf8').trim();
  try {
    return readdirSync(bus).some(
      (device) => value(device, 'vendor') === '0x10de' && value(device, 'class').startsWith('0x03'),
    );
  } catch {
    return false;
  }
}

function runSelfTest(device: string): Promise<SelfTestResult> {
  return new Promise((resolve, reject) => {
    const refuse = (why: string): void =>
      reject(
        new TesseraeError('ERR_DEVICE', `training a tiny model on ${device} ${why}`, { details: { device } }),
      );
    const child = spawn(process.execPath, [path.join(__dirname, 'self_test.js'), device], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: SELF_TEST_MILLISECONDS,
      killSignal: 'SIGKILL',
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.on('error', (error) => refuse(`could not start: ${error.message}`));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(JSON.parse(out) as SelfTestResult);
      else if (signal === 'SIGKILL') refuse(`did not end within ${SELF_TEST_MILLISECONDS / 1e3} s`);
      else if (signal !== null) refuse(`crashed with ${signal}`);
      else refuse(`failed: ${err.trim().split('\n').at(-1) ?? ''}`);
    });
  });
}

function atLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split('.').map(Number);
  for (const [i, wanted] of least.entries()) {
    const part = parts[i] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}

/** 13000 is 13.0. */
function cudaVersion(number: number): string {
  return `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;
}

/** 130001 is 13.0.1, 22703 is 2.27.3. */
function libraryVersion(number: number): string {
  return `${Math.floor(number / 10_000)}.${Math.floor((number % 10_000) / 100)}.${number % 100}`;
}
