print("qwen")
