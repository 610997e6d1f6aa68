'use strict';

// Preloaded into each thread of a program: makes the disk full for the checkpoints that FULL_DISK_FOR names.
const path = require('node:path');
const { files } = require('../../../dist/checkpoint/files.js');

const full = (process.env.FULL_DISK_FOR ?? '').split(',');
const { open } = files;

files.open = async (name, flags) => {
  const file = await open(name, flags);
  if (flags !== 'wx' || !full.includes(path.basename(path.dirname(name)).split('.')[0])) return file;
  file.write = () =>
    Promise.reject(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }));
  return file;
};
