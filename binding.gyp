{
  # CMakeLists.txt is the one list of native sources: node-gyp and prebuildify build through cmake-js.
  'targets': [
    {
      'target_name': 'tesserae',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake_js',
          'inputs': ['CMakeLists.txt'],
          'outputs': ['<(PRODUCT_DIR)/tesserae.node'],
          'action': ['node', 'scripts/build_native.mjs'],
        },
      ],
    },
  ],
}
