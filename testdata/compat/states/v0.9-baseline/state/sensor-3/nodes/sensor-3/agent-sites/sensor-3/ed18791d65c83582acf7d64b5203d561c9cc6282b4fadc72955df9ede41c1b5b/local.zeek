redef Site::name = "compat";
